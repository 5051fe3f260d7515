// At most `limit` jobs at a time, in the order they were asked for; one that was cancelled before its turn never runs.

export class Queue {
  #limit;
  #running = 0;
  #waiting = new Map();

  constructor(limit) {
    this.#limit = limit;
  }

  /** Run `job` (async, takes no argument) in its turn. The same key again replaces the job that waits. */
  add(key, job) {
    this.#waiting.set(key, job);
    this.#next();
  }

  cancel(key) {
    this.#waiting.delete(key);
  }

  clear() {
    this.#waiting.clear();
  }

  #next() {
    for (const [key, job] of this.#waiting) {
      if (this.#running >= this.#limit) return;
      this.#waiting.delete(key);
      this.#running += 1;
      job().finally(() => {
        this.#running -= 1;
        this.#next();
      });
    }
  }
}
