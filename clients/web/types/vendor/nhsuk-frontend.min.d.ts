/** Starts every component on the page. The package carries no types; we use this one function. */
export function initAll(): void;
