// The button that goes from the system's theme to light, to dark, and back.
import { byId, icon } from "./dom.js";

const THEMES = {
  system: { icon: "monitor", next: "light" },
  light: { icon: "sun", next: "dark" },
  dark: { icon: "moon", next: "system" },
};

export function startThemeSwitch() {
  const root = document.documentElement;
  const button = byId("theme");
  const draw = () => {
    const theme = root.dataset.theme ?? "system";
    button.replaceChildren(icon(THEMES[theme].icon));
    button.ariaLabel = `Theme: ${theme}; change to ${THEMES[theme].next}`;
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    const { next } = THEMES[root.dataset.theme ?? "system"];
    if (next === "system") delete root.dataset.theme;
    else root.dataset.theme = next;
    try {
      localStorage.setItem("uniconv.theme", next);
    } catch {
      // Storage is blocked: the theme lasts as long as the page.
    }
    draw();
  });
  draw();
}
