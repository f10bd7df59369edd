// A job's Server-Sent Events, read with fetch, because an EventSource can send no API key.

import { ask, Refused } from "./api.js";
import { ENDED } from "./words.js";

const LONGEST_WAIT_SECONDS = 15;

/**
 * Each event of the job as {kind, data}, across broken connections, until the job has ended; "offline" while there is
 * no connection. Throws Refused where trying again would not help.
 */
export async function* follow(jobId, signal) {
  let last = null, wait = 1;
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const answer = await ask(`/v1/jobs/${jobId}/events`, { headers, signal });
      if (answer.status === 204) return; // it has ended, and that was its last event
      let ended = false;
      for await (const event of eventsIn(answer.body)) {
        last = event.id ?? last;
        wait = 1;
        ended = ENDED.has(event.data.status) && event.kind !== "sample";
        yield event;
      }
      if (ended) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && !error.problem.retryable) throw error;
      wait = Math.max(wait, error.problem?.retry_after_seconds ?? 0);
    }
    yield { kind: "offline", data: {} };
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
    wait = Math.min(wait * 2, LONGEST_WAIT_SECONDS);
  }
}

/** The events of one connection: lines up to an empty one, comments left out. */
async function* eventsIn(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const event = eventOf(block);
        if (event) yield event;
      }
    }
  } finally {
    reader.cancel().catch(() => {}); // whoever stopped listening knows that the connection goes
  }
}

function eventOf(block) {
  const fields = { data: [] };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    if (name === "data") fields.data.push(value);
    else if (name) fields[name] = value;
  }
  if (!fields.data.length) return null;
  return { kind: fields.event ?? "message", id: fields.id, data: JSON.parse(fields.data.join("\n")) };
}
