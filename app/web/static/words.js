// Numbers and times, as people read them.

export const ENDED = new Set(["succeeded", "failed", "canceled"]);

/** "1 picture", "3 pictures". */
export const several = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

/** "0.4 %" of a share between 0 and 1. */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} %`;
}

/** "12 s", "3 min", "2 h". */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A moment in the reader's own time, the day only where it is not today. */
export function moment(text) {
  const at = new Date(text);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const today = at.toDateString() === new Date().toDateString();
  return today ? time : `${at.toLocaleDateString([], { year: "numeric", month: "short", day: "numeric" })}, ${time}`;
}

/** A score with as many digits as tell it apart from its threshold. */
export const score = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));

/** Bytes in the unit that fits. */
export function bytes(count) {
  const units = ["bytes", "kB", "MB", "GB"];
  const at = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), units.length - 1);
  return `${at ? (count / 1000 ** at).toFixed(1) : count} ${units[at]}`;
}
