// The workers that hold the tiles of all vector sets of the page. A tile lives in one worker, told by its key.

const MOST_WORKERS = 3;
/** Answers a worker may owe: enough to keep it busy, few enough that what is asked next comes soon. */
const MOST_OWED = 3;

class Pool {
  #workers = null;
  #waiting = new Map();
  #next = 0;

  /** The answer of a job of vector-worker/worker.js. Rejects with its reason; an aborted load with an AbortError. */
  ask(job, wish) {
    const worker = this.#worker(wish.key);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, worker });
      worker.owed += 1;
      worker.port.postMessage({ id, job, ...wish });
    });
  }

  /** Drop a tile, or the loading of it. */
  forget(key) {
    this.#worker(key).port.postMessage({ job: "forget", key });
  }

  /** Whether the worker of a tile has time for more. */
  free(key) {
    return this.#worker(key).owed < MOST_OWED;
  }

  #worker(key) {
    this.#workers ??= Array.from({ length: Math.max(1, Math.min(MOST_WORKERS, (navigator.hardwareConcurrency || 2) - 1)) }, () => this.#hire());
    let sum = 0;
    for (let at = 0; at < key.length; at += 1) sum = (31 * sum + key.charCodeAt(at)) >>> 0;
    return this.#workers[sum % this.#workers.length];
  }

  #hire() {
    const port = new Worker(new URL("../vector-worker/worker.js", import.meta.url), { type: "module" });
    const worker = { port, owed: 0 };
    port.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.#take(id, worker);
      if (error === undefined) resolve(result);
      else reject(Object.assign(new Error(error), error === "AbortError" ? { name: error } : {}));
    };
    port.onerror = (event) => {
      event.preventDefault();
      for (const [id, waiting] of this.#waiting) if (waiting.worker === worker) this.#take(id, worker).reject(new Error("The shapes cannot be drawn: the worker that does it failed."));
    };
    return worker;
  }

  #take(id, worker) {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    worker.owed -= 1;
    return waiting;
  }
}

export const pool = new Pool();
