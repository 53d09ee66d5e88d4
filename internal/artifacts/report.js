(() => {
  "use strict";
  const at = (element) => new Date(element.dataset.at * 1000);
  const format = (date, options) => new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...options }).format(date).replace(",", "");
  const zone = (date) => new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(date).find((part) => part.type === "timeZoneName").value;
  const clock = { hour: "2-digit", minute: "2-digit" };
  const seconds = { ...clock, second: "2-digit" };
  const day = { day: "numeric", month: "short" };
  const like = (utc, date) => {
    const hours = utc.split(":").length;
    const time = hours === 3 ? seconds : hours === 2 || date.getHours() + date.getMinutes() > 0 ? clock : {};
    return { ...(utc.includes(" ") ? day : {}), ...time };
  };
  for (const times of document.querySelectorAll(".times")) {
    const first = times.firstElementChild;
    if (!first || at(first).getTimezoneOffset() === 0) continue;
    const name = times.previousElementSibling.cloneNode(true);
    const local = times.cloneNode(true);
    name.textContent = zone(at(first));
    for (const tick of local.children) tick.textContent = format(at(tick), like(tick.textContent, at(tick)));
    times.after(name, local);
  }
  for (const span of document.querySelectorAll("dd [data-at]")) {
    const date = at(span);
    if (date.getTimezoneOffset() !== 0) span.textContent = ` (${format(date, { ...day, ...seconds })} ${zone(date)})`;
  }
})();
