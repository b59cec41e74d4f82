// @ts-check
/**
 * Keyed patching of a list: rows are made once, kept while their key stays, and moved rather than made again, so that
 * focus, selection and a screen reader's place survive. Rows that the server rendered are adopted by `data-key`.
 * Text reaches the page through `textContent` alone; nothing here parses markup.
 */

/**
 * Make an element. `text` is text, never markup.
 * @param {string} tag
 * @param {{class?: string, text?: string, attrs?: Record<string, string>}} [with_]
 * @param {(Node | null | undefined)[]} [children]
 * @returns {HTMLElement}
 */
export function el(tag, with_ = {}, children = []) {
  const node = document.createElement(tag);
  if (with_.class) node.className = with_.class;
  if (with_.text !== undefined) node.textContent = with_.text;
  for (const [name, value] of Object.entries(with_.attrs ?? {})) node.setAttribute(name, value);
  for (const child of children) if (child) node.append(child);
  return node;
}

const CONTROLS = "a, button, input, select, textarea";

/** @type {WeakMap<Element, string>} */
const stamps = new WeakMap();

/**
 * Make the children of `list` be `rows`, in order, touching only what changed.
 * @template T
 * @param {Element} list
 * @param {readonly T[]} rows
 * @param {{key: (row: T) => string, stamp: (row: T) => string, tag?: string, fill: (node: HTMLElement, row: T) => void}} how
 *   `stamp` is equal exactly when a row need not be drawn again.
 * @returns {{added: string[]}} keys that were not in the list before
 */
export function patch(list, rows, how) {
  /** @type {Map<string, HTMLElement>} */
  const present = new Map();
  for (const child of Array.from(list.children)) {
    const key = child.getAttribute("data-key");
    if (child instanceof HTMLElement && key !== null && !present.has(key)) present.set(key, child);
    else child.remove();
  }
  const focus = rememberFocus(list);
  const added = [];
  /** @type {ChildNode | null} */
  let cursor = list.firstElementChild;
  for (const row of rows) {
    const key = how.key(row);
    let node = present.get(key);
    if (node) {
      present.delete(key);
    } else {
      node = el(how.tag ?? "li", { attrs: { "data-key": key } });
      added.push(key);
    }
    const stamp = how.stamp(row);
    if (stamps.get(node) !== stamp) {
      how.fill(node, row);
      stamps.set(node, stamp);
    }
    if (node === cursor) cursor = node.nextElementSibling;
    else list.insertBefore(node, cursor);
  }
  for (const left of present.values()) left.remove();
  focus?.();
  return { added };
}

/**
 * A row that is moved or drawn again loses the focus within it: give it back, to the same control or to the one that
 * took its place.
 * @param {Element} list
 * @returns {(() => void) | null}
 */
function rememberFocus(list) {
  const focused = document.activeElement;
  const row = focused?.closest("[data-key]");
  if (!(focused instanceof HTMLElement) || !row || !list.contains(row)) return null;
  const nth = Array.from(row.querySelectorAll(CONTROLS)).indexOf(focused);
  return () => {
    if (document.activeElement === focused || !row.isConnected) return;
    const again = focused.isConnected ? focused : row.querySelectorAll(CONTROLS)[nth];
    if (again instanceof HTMLElement) again.focus({ preventScroll: true });
  };
}
