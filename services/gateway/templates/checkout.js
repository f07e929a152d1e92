// Asks where the payment stands until nothing more will happen. A hidden page does not ask; one that is shown again,
// as after a visit to the wallet, asks at once.
(() => {
  "use strict";
  const page = document.querySelector("main");
  const usual = 2000;
  const longest = 30000;
  let pause = usual;
  let timer = 0;
  let asking = false;
  let over = false;

  const show = (now) => {
    page.dataset.state = now.state;
    page.querySelector(".label").textContent = now.label;
    page.querySelector(".detail").textContent = now.detail;
    document.title = now.label + " · " + page.dataset.price;
  };

  const ask = async () => {
    if (asking || over || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(page.dataset.poll, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.status);
      const now = await answer.json();
      pause = usual;
      over = now.final;
      if (now.state === "pending" && page.dataset.state !== "pending") {
        over = true;
        location.reload(); // for the code
      } else if (now.state !== page.dataset.state) {
        show(now);
      }
    } catch {
      pause = Math.min(pause * 2, longest);
    }
    asking = false;
    later(pause);
  };

  const later = (milliseconds) => {
    clearTimeout(timer);
    timer = setTimeout(ask, milliseconds);
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) later(0);
  });
  later(usual);
})();
