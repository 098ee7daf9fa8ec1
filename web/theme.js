// Applies the stored theme before the first paint. Without one, the system's setting applies.
const stored = localStorage.getItem("theme");
if (stored) document.documentElement.dataset.theme = stored;
