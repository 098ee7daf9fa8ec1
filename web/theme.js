// Light or dark, before anything is drawn: as the person chose here, else as the system says.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
