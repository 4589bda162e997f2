// EventStreamParser: text of an event stream in, data of events out.
//
// Follows the WHATWG grammar as far as a metrics stream needs it: lines end with CR, LF or CRLF, `data` lines of one
// event are joined with LF, comments and unknown fields (Hystrix's `ping: `) are skipped. Memory is bounded: an event
// longer than `maxLength` is dropped up to its end and counted.

export class EventStreamParser {
  constructor({ maxLength = 4 * 1024 * 1024 } = {}) {
    this.maxLength = maxLength;
    this.oversized = 0;
    this._pieces = []; // of the line that is not over yet, joined when it is: a long one comes in thousands
    this._pending = 0; // their length
    this._data = [];
    this._length = 0;
    this._dropping = false;
    this._skipLf = false;
  }

  /** Feed the next piece of text; returns the data strings of the events which it completed. */
  feed(text) {
    if (this._skipLf && text.length > 0) {
      if (text[0] === "\n") text = text.slice(1);
      this._skipLf = false;
    }
    const lines = text.split(/\r\n|\n|\r/);
    this._skipLf = text.endsWith("\r");
    const rest = lines.pop();
    if (lines.length > 0) {
      lines[0] = this._pieces.join("") + lines[0];
      this._pieces = [];
      this._pending = 0;
    }
    this._pieces.push(rest);
    this._pending += rest.length;
    if (this._pending > this.maxLength) {
      this._pieces = [":"]; // what is left of the line is skipped as a comment is; it is not empty, which ends an event
      this._pending = 1;
      this._drop();
    }
    const events = [];
    for (const line of lines) this._line(line, events);
    return events;
  }

  _line(line, events) {
    if (line === "") {
      if (this._dropping) this.oversized += 1;
      else if (this._data.length > 0) events.push(this._data.join("\n"));
      this._data = [];
      this._length = 0;
      this._dropping = false;
    } else if (line.startsWith("data:") && !this._dropping) {
      this._length += line.length;
      if (this._length > this.maxLength) this._drop();
      else this._data.push(line.slice(line[5] === " " ? 6 : 5));
    }
  }

  _drop() {
    this._dropping = true;
    this._data = [];
  }
}
