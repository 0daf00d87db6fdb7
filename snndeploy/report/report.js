"use strict";
// The slider: shows the figures of the chosen setting, and its ring on the chart.
for (const box of document.querySelectorAll("[data-settings]")) {
  const settings = JSON.parse(box.dataset.settings);
  const slider = box.querySelector("input");
  const show = () => {
    const chosen = Number(slider.value);
    settings.forEach((_, i) => {
      document.getElementById(box.dataset.mark + i)?.classList.toggle("on", i === chosen);
    });
    for (const out of box.querySelectorAll("[data-figure]")) {
      out.textContent = settings[chosen][out.dataset.figure];
    }
    slider.setAttribute("aria-valuetext", settings[chosen].setting);
  };
  slider.addEventListener("input", show);
  show();
}
