// History: one command's rate over the last two minutes, a slot per second.
//
// A ring of floats, NaN where nothing was reported: a gap in the data is a gap in the line, never a zero.

export const SLOTS = 120;

export class History {
  constructor() {
    this.rates = new Float64Array(SLOTS).fill(NaN);
    this.unhappy = new Float64Array(SLOTS).fill(NaN);
    this.last = null;
  }

  /** Note the rate and the unhappy part of it (both per second) for the second `second`; false if it is noted already. */
  put(second, rate, unhappyRate) {
    if (this.last !== null && second <= this.last) return false;
    const from = this.last === null ? second : Math.max(this.last + 1, second - SLOTS + 1);
    for (let s = from; s < second; s += 1) this._set(s, NaN, NaN);
    this._set(second, rate, unhappyRate);
    this.last = second;
    return true;
  }

  /** The last two minutes up to `second`, oldest first: [{rate, unhappy}], NaN where unknown. */
  until(second) {
    const points = [];
    for (let s = second - SLOTS + 1; s <= second; s += 1) {
      const known = this.last !== null && s <= this.last && s > this.last - SLOTS;
      const slot = ((s % SLOTS) + SLOTS) % SLOTS;
      points.push(known ? { rate: this.rates[slot], unhappy: this.unhappy[slot] } : { rate: NaN, unhappy: NaN });
    }
    return points;
  }

  _set(second, rate, unhappyRate) {
    const slot = ((second % SLOTS) + SLOTS) % SLOTS;
    this.rates[slot] = rate;
    this.unhappy[slot] = unhappyRate;
  }
}
