"use strict";
// Runs before the page is drawn, so that a chosen theme doesn't flash the other one first.
try {
  const chosen = localStorage.getItem("uniconv.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is blocked: the theme is the system's.
}
