// One chart of a page. Plotly draws it when it comes near the window, and changes it in place when its figure changes:
// Streamlit's own chart is made anew, twice, at every change, and is drawn wherever it is on the page.
const CONFIG = {
  displayModeBar: false,
  doubleClick: false,
  // Formats in per cent ask for the unit of money: Plotly's own “90%” has no space.
  locales: { en: { format: { currency: ["", " %"] } } },
};
const charts = new WeakMap();

function plotly(address) {
  window.espalierPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI).href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      window.espalierPlotly = undefined;
      reject(new Error("What draws the charts did not come from the server."));
    };
    document.head.append(script);
  });
  return window.espalierPlotly;
}

// What charts take from the page: its type, and colours that can be read on its paper.
function look(host) {
  const page = getComputedStyle(host);
  const text = page.getPropertyValue("--st-text-color").trim();
  const small = { color: page.color, size: 12 };
  const axis = { tickfont: small, title: { font: { color: page.color, size: 14 } } };
  const paper = page.getPropertyValue("--st-background-color").trim();
  const edge = page.getPropertyValue("--st-border-color").trim();
  const bar = { outlinewidth: 0, thickness: 16, tickfont: small, title: { font: { color: page.color, size: 14 } } };
  return {
    data: { heatmap: [{ colorbar: bar }] },
    layout: {
      font: { ...small, family: page.fontFamily },
      legend: { font: { size: 12, color: text }, borderwidth: 0, valign: "top" },
      hoverlabel: { bgcolor: paper, bordercolor: edge, font: small },
      margin: { pad: 8 },
      xaxis: axis,
      yaxis: axis,
    },
  };
}

class Chart {
  constructor(parent, address) {
    this.library = () => plotly(address);
    this.host = document.createElement("div");
    this.host.className = "esp-plot";
    parent.append(this.host);
    this.near = false;
    this.drawn = Promise.resolve();
    this.library().catch(() => {}); // On its way before it is needed.
    // A little ahead of the window: what is further away waits until somebody goes there, or prints.
    const root = parent.closest('[data-testid="stMain"]');
    this.watch = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.come(), {
      root,
      rootMargin: "160px 0px",
    });
    this.watch.observe(this.host);
    this.size = new ResizeObserver(() => this.wide() !== this.width && this.draw());
    this.size.observe(this.host);
    this.print = () => this.come();
    window.addEventListener("beforeprint", this.print);
  }

  take(text, alt, width, height, clicked) {
    this.host.setAttribute("role", "figure");
    this.host.setAttribute("aria-label", alt);
    this.host.style.width = width ? `${width}px` : "";
    this.host.style.height = `${height}px`;
    if (width) this.host.tabIndex = 0; // It may be wider than its place: the arrow keys scroll what has the focus.
    this.clicked = clicked;
    this.text = text;
    this.draw();
  }

  come() {
    this.watch.disconnect();
    if (!this.near) {
      this.near = true;
      this.draw();
    }
  }

  wide() {
    return Math.floor(this.host.clientWidth);
  }

  // One after another; what was overtaken meanwhile is not drawn.
  draw() {
    if (!this.near) return;
    this.host.setAttribute("aria-busy", "true");
    const drawn = this.drawn.then(() => this.now()).catch((error) => this.fail(error));
    this.drawn = drawn;
    drawn.then(() => this.drawn === drawn && this.host.removeAttribute("aria-busy"));
  }

  fail(error) {
    if (!this.host.isConnected) return; // Its page was left while it was being drawn.
    console.error(error);
    this.asked = null;
    if (!this.plotted) this.host.textContent = "This chart could not be drawn. Reload the page to try again.";
  }

  async now() {
    const library = await this.library();
    const width = this.wide();
    const style = look(this.host);
    const asked = `${width}${JSON.stringify(style)}${this.text}`;
    if (!this.host.isConnected || !width || asked === this.asked) return;
    this.asked = asked;
    this.width = width;
    if (!this.plotted) this.host.textContent = "";
    const { data, layout } = JSON.parse(this.text);
    const clickmode = this.clicked ? "event" : "none";
    const whole = { ...layout, template: style, width, clickmode };
    await library.react(this.host, data, whole, CONFIG);
    if (!this.plotted) {
      this.plotted = true;
      this.host.on("plotly_click", (event) => this.clicked?.(event.points.map(({ customdata }) => ({ customdata }))));
    }
  }

  end() {
    this.watch.disconnect();
    this.size.disconnect();
    window.removeEventListener("beforeprint", this.print);
    this.host.remove();
    this.drawn.then(() => this.plotted && window.Plotly.purge(this.host)); // Not in the middle of a drawing.
  }
}

export default function ({ parentElement, data, setTriggerValue }) {
  const { figure, alt, width, height, clicks, plotly: address } = JSON.parse(data);
  let chart = charts.get(parentElement);
  if (!chart) charts.set(parentElement, (chart = new Chart(parentElement, address)));
  chart.take(figure, alt, width, height, clicks ? (points) => setTriggerValue("selection", { points }) : null);
  return () => {
    charts.delete(parentElement);
    chart.end();
  };
}
