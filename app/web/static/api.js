// Calls of the service: the API key, and refusals as problem documents.

const ROOT = new URL("..", import.meta.url); // the service, below whatever path a proxy puts it
const KEY = "earthsynth-key";

/** Tells "needed" when a call was refused for want of a good key. */
export const keys = new EventTarget();

export const storedKey = () => sessionStorage.getItem(KEY);
export const storeKey = (key) => sessionStorage.setItem(KEY, key);
export const forgetKey = () => sessionStorage.removeItem(KEY);

/** An answer of 400 or more, or none at all: `problem` is the problem document (RFC 9457). */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** The address of a path of the service, or of a link that an answer holds. */
export const address = (path) => new URL(path.replace(/^\//, ""), ROOT).href;

/** The answer, whatever its body is. Throws Refused. */
export async function ask(path, { method = "GET", headers = {}, json, form, signal } = {}) {
  const sent = new Headers(headers);
  const key = storedKey();
  if (key) sent.set("Authorization", `Bearer ${key}`);
  if (json !== undefined) sent.set("Content-Type", "application/json");
  let answer;
  try {
    answer = await fetch(address(path), {
      method, signal, headers: sent, body: json === undefined ? form : JSON.stringify(json), cache: "no-store",
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refused({
      title: "No answer", code: "no_answer", errors: [], retryable: true,
      detail: `The service cannot be reached.${method === "GET" ? "" : " What was sent may have arrived; sent again, it is made only once."}`,
    });
  }
  if (answer.ok) return answer;
  const problem = await problemOf(answer);
  if (answer.status === 401) keys.dispatchEvent(new CustomEvent("needed", { detail: problem }));
  throw new Refused(problem);
}

/** The answer's JSON. Throws Refused. */
export async function call(path, options) {
  const answer = await ask(path, options);
  return answer.status === 204 ? null : answer.json();
}

/** A key for one submission. `crypto.randomUUID` is absent where the page came by plain HTTP. */
export function idempotencyKey() {
  const numbers = crypto.getRandomValues(new Uint8Array(16));
  return `page-${[...numbers].map((number) => number.toString(16).padStart(2, "0")).join("")}`;
}

async function problemOf(answer) {
  const retryAfter = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  const more = Number.isNaN(retryAfter) ? {} : { retry_after_seconds: retryAfter };
  if ((answer.headers.get("Content-Type") ?? "").startsWith("application/problem+json")) {
    return { ...(await answer.json()), ...more };
  }
  return { // from something between here and the service
    title: answer.statusText || "Refused", status: answer.status, code: "not_from_the_service", errors: [], ...more,
    detail: `Something before the service answered ${answer.status}.`, retryable: answer.status >= 500,
  };
}
