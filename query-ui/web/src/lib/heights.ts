// Where rows of different heights lie: measured where seen, estimated elsewhere.

export class Heights {
  private known = new Map<string, number>();
  private keys: string[] = [];
  /** Where each row begins; one more than there are rows: the last is the whole height. */
  private starts = new Float64Array(1);

  /** Takes the rows in their order; what was measured before stays known. */
  place(keys: string[], estimate: (at: number) => number) {
    this.keys = keys;
    if (this.known.size > 2 * keys.length + 1000) this.forgetOthers();
    const starts = new Float64Array(keys.length + 1);
    let sum = 0;
    keys.forEach((key, at) => {
      sum += this.known.get(key) ?? estimate(at);
      starts[at + 1] = sum;
    });
    this.starts = starts;
  }

  /** Takes measured heights; says whether anything moved. */
  measured(heights: Iterable<[at: number, height: number]>): boolean {
    let first = this.keys.length;
    const changed = new Map<number, number>();
    for (const [at, height] of heights) {
      const key = this.keys[at];
      if (key === undefined) continue;
      this.known.set(key, height);
      if (Math.abs(height - this.heightOf(at)) < 0.5) continue;
      changed.set(at, height);
      first = Math.min(first, at);
    }
    if (changed.size === 0) return false;
    const starts = this.starts.slice();
    for (let at = first; at < this.keys.length; at += 1) {
      starts[at + 1] = (starts[at] ?? 0) + (changed.get(at) ?? this.heightOf(at));
    }
    this.starts = starts;
    return true;
  }

  /** Everything is to be measured again, such as after a change of width. */
  forget() {
    this.known.clear();
  }

  get total(): number {
    return this.starts[this.keys.length] ?? 0;
  }

  start(at: number): number {
    return this.starts[Math.max(0, Math.min(at, this.keys.length))] ?? 0;
  }

  heightOf(at: number): number {
    return (this.starts[at + 1] ?? 0) - (this.starts[at] ?? 0);
  }

  /** The row at a height from the top. */
  rowAt(y: number): number {
    let [low, high] = [0, this.keys.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.starts[middle] ?? 0) <= y) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  private forgetOthers() {
    const wanted = new Set(this.keys);
    for (const key of this.known.keys()) if (!wanted.has(key)) this.known.delete(key);
  }
}
