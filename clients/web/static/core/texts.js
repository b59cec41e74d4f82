// @ts-check
/** The page's texts, keyed by code, as the server put them into the page. */

/** @type {Record<string, Record<string, string>> | null} */
let loaded = null;

/** @returns {Record<string, Record<string, string>>} */
function catalogue() {
  if (!loaded) {
    const source = document.getElementById("texts")?.textContent;
    loaded = source ? JSON.parse(source) : {};
  }
  return /** @type {Record<string, Record<string, string>>} */ (loaded);
}

/**
 * The text for "section.code" with {names} filled in; the code's own words where the catalogue has none.
 * @param {string} code
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(code, values = {}) {
  const text = maybe(code) ?? code.slice(code.indexOf(".") + 1).replaceAll("_", " ");
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/**
 * @param {string} code
 * @returns {string | undefined}
 */
export function maybe(code) {
  const dot = code.indexOf(".");
  return catalogue()[code.slice(0, dot)]?.[code.slice(dot + 1)];
}

/**
 * Every code of a section with its text, in the catalogue's order.
 * @param {string} section
 * @returns {[string, string][]}
 */
export function section(section) {
  return Object.entries(catalogue()[section] ?? {});
}

const clockFormat = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "Europe/London" });
const dayFormat = new Intl.DateTimeFormat("en-GB", {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZone: "Europe/London",
});

const dateFormat = new Intl.DateTimeFormat("en-GB", { dateStyle: "short", timeZone: "Europe/London" });

/**
 * Wall time in London; with the day when that is not today's, so that last night never stands below this morning.
 * @param {number} at milliseconds since 1970
 * @param {number} now
 */
export function clock(at, now = Date.now()) {
  const when = new Date(at);
  const today = dateFormat.format(when) === dateFormat.format(new Date(now));
  return (today ? clockFormat : dayFormat).format(when);
}

/**
 * "0:42", "12:05", "3 h 10 min".
 * @param {number} ms
 */
export function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}
