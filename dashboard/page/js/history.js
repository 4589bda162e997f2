// History: one command's rate over the last two minutes, a slot per second.
//
// A ring of floats, NaN where nothing was reported: a gap in the data is a gap in the line, never a zero. What a stream
// tells of the time before the page was opened is added to what is known of the same seconds from other instances.

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

  /** Add what one reporter did before it was first heard: [{second, rate, unhappy}], oldest first, a point per second. */
  fill(points) {
    if (points.length === 0) return;
    const newest = points.at(-1).second;
    if (this.last === null) this.last = newest - SLOTS;
    for (let s = this.last + 1; s <= newest; s += 1) this._set(s, NaN, NaN);
    this.last = Math.max(this.last, newest);
    for (const { second, rate, unhappy } of points) {
      if (second <= this.last - SLOTS) continue;
      const slot = slotOf(second);
      const known = !Number.isNaN(this.rates[slot]);
      this._set(second, rate + (known ? this.rates[slot] : 0), unhappy + (known ? this.unhappy[slot] : 0));
    }
  }

  /** For how many seconds up to now at least `share` of the traffic has failed, and whether it began before all we know. */
  failing(share) {
    let seconds = 0;
    while (this.last !== null && seconds < SLOTS) {
      const slot = slotOf(this.last - seconds);
      if (!(this.rates[slot] > 0) || !(this.unhappy[slot] >= share * this.rates[slot])) break;
      seconds += 1;
    }
    return { seconds, longer: seconds === SLOTS };
  }

  /** The last two minutes up to `second`, oldest first: [{rate, unhappy}], NaN where unknown. */
  until(second) {
    const points = [];
    for (let s = second - SLOTS + 1; s <= second; s += 1) {
      const known = this.last !== null && s <= this.last && s > this.last - SLOTS;
      const slot = slotOf(s);
      points.push(known ? { rate: this.rates[slot], unhappy: this.unhappy[slot] } : { rate: NaN, unhappy: NaN });
    }
    return points;
  }

  _set(second, rate, unhappyRate) {
    const slot = slotOf(second);
    this.rates[slot] = rate;
    this.unhappy[slot] = unhappyRate;
  }
}

function slotOf(second) {
  return ((second % SLOTS) + SLOTS) % SLOTS;
}
