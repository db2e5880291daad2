// Loaded before the first paint, so that nobody sees the other theme flash by. Light and dark win over the system's.
(() => {
  const NAMES = ["system", "light", "dark"];

  function chosen() {
    try {
      const kept = localStorage.getItem("stylize.theme");
      return NAMES.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage is forbidden here: the system decides
    }
  }

  window.stylizeTheme = {
    current: chosen,
    next() {
      const following = NAMES[(NAMES.indexOf(document.documentElement.dataset.theme) + 1) % NAMES.length];
      document.documentElement.dataset.theme = following;
      try {
        localStorage.setItem("stylize.theme", following);
      } catch {
        return following; // kept for this visit only
      }
      return following;
    },
  };
  document.documentElement.dataset.theme = chosen();
})();
