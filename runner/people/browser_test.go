package people

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ablate/reports/page/browsertest"
)

// visit opens a rater's page in headless Chromium with further scripts, which are served beside the page's own, and
// returns the document after them. Errors of scripts and of the page's policy fail the test.
func visit(t *testing.T, c *Collection, scripts []string, flags ...string) string {
	t.Helper()
	inner := served(t, c)
	handler := inner.Config.Handler
	outer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = inner.Listener.Addr().String() // the name by which the server is asked
		if origin := r.Header.Get("Origin"); origin != "" {
			r.Header.Set("Origin", "http://"+r.Host)
		}
		if name, ok := strings.CutPrefix(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], "probe"); ok {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write([]byte(scripts[name[0]-'0']))
			return
		}
		if !strings.HasSuffix(r.URL.Path, "/") {
			handler.ServeHTTP(w, r)
			return
		}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		for k, v := range rec.Header() {
			w.Header()[k] = v
		}
		tags := ""
		for i := range scripts {
			tags += `<script src="probe` + string(rune('0'+i)) + `.js" defer></script>`
		}
		_, _ = w.Write([]byte(strings.Replace(rec.Body.String(), "</head>", tags+"</head>", 1)))
	}))
	defer outer.Close()
	return browsertest.Said(t, browsertest.Open(t, outer.URL+c.Links()[0], append([]string{"--virtual-time-budget=60000"}, flags...)...))
}

// TestPage answers a whole comparison with the keyboard alone, takes an answer back, and says it again otherwise.
func TestPage(t *testing.T) {
	c, _ := collected(t, 6, Size{Raters: 1})
	probe := `addEventListener("load", async () => {
	const out = [], wait = ms => new Promise(then => setTimeout(then, ms)), press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
	const until = async what => { for (let k = 0; k < 400 && !what(); k++) await wait(20); return what(); };
	const far = () => document.getElementById("far").textContent, prompt = () => document.getElementById("prompt").textContent;
	await until(prompt);
	out.push(far(), document.querySelectorAll(".grid img").length + " pictures", document.getElementById("send").disabled, document.getElementById("undo").hidden);
	press("1"); press("2"); out.push(document.getElementById("send").disabled);
	const first = prompt();
	press("Enter");
	await until(() => far().startsWith("1 of 6"));
	press("Backspace");
	out.push(await until(() => far().startsWith("0 of 6") && prompt() === first));
	for (let k = 0; k < 6; k++) {
		press("1"); press("3"); press("Enter");
		await until(() => far().startsWith(k + 1 + " of 6"));
	}
	out.push(far(), document.getElementById("end").hidden, document.getElementById("task").hidden, document.querySelectorAll("img").length > 0);
	document.documentElement.dataset.result = out.join(";");
	});`
	if got, want := visit(t, c, []string{probe}), "0 of 6;4 pictures;true;true;false;true;6 of 6;false;true;true"; got != want {
		t.Errorf("the page says\n%s, want\n%s", got, want)
	}
	for _, task := range c.Raters[0].Tasks {
		g, ok := c.j.given("rater 1", task)
		if !ok || g.Alignment != Left || g.Fidelity != Right || g.Seconds < 0 {
			t.Errorf("task %d: %+v, %v", task, g, ok)
		}
	}
}

// TestPageBreaks: a server that fails for a while loses no answer, and the page says so.
func TestPageBreaks(t *testing.T) {
	c, _ := collected(t, 3, Size{Raters: 1})
	probe := `addEventListener("load", async () => {
	const real = fetch; let broken = 0, seen = 0;
	window.fetch = (...a) => { if (a[1] && broken++ < 3) return broken === 2 ? real(...a).then(() => { throw new TypeError("cut off"); }) : Promise.reject(new TypeError("no network")); return real(...a); };
	const wait = ms => new Promise(then => setTimeout(then, ms)), press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
	const far = () => document.getElementById("far").textContent;
	while (!far()) await wait(20);
	for (let k = 0; k < 3; k++) {
		press("1"); press("1"); press("Enter"); press("Enter");
		while (!far().startsWith(k + 1 + " of 3")) { if (!document.getElementById("error").hidden) seen = 1; await wait(50); }
	}
	document.documentElement.dataset.result = far() + ";" + seen + ";" + document.getElementById("error").hidden;
	});`
	if got, want := visit(t, c, []string{probe}), "3 of 3;1;true"; got != want {
		t.Errorf("the page says %s, want %s", got, want)
	}
	if done, _ := c.Done(); done != 3 || len(c.j.ids) != 3 {
		t.Errorf("%d answers in %d records", done, len(c.j.ids))
	}
}

// TestAxe: axe-core finds nothing serious, in light and dark, on a screen and on a telephone, where nothing is wider than
// the window. ABLATE_TEST_AXE names axe.min.js.
func TestAxe(t *testing.T) {
	axe := browsertest.Axe(t)
	probe := `addEventListener("load", async () => {
	const wait = ms => new Promise(then => setTimeout(then, ms));
	while (!document.getElementById("prompt").textContent) await wait(20);
	document.querySelector("input").checked = true; document.querySelector("input").dispatchEvent(new Event("change"));
	const found = await axe.run(document, { rules: { "color-contrast": { enabled: true } } });
	document.documentElement.dataset.result = found.violations.map(v => v.id + " " + v.nodes.map(n => n.target).join(" ")).join("; ") + "|" + (document.documentElement.scrollWidth - innerWidth);
	});`
	for what, flags := range map[string][]string{
		"light": nil, "dark": {"--force-dark-mode", "--blink-settings=preferredColorScheme=0"}, "a telephone": {"--window-size=500,900"},
	} {
		t.Run(what, func(t *testing.T) {
			c, _ := collected(t, 3, Size{Raters: 1})
			got := visit(t, c, []string{string(axe), probe}, flags...)
			violations, over, _ := strings.Cut(got, "|")
			if violations != "" {
				t.Errorf("axe-core: %s", violations)
			}
			if strings.Trim(over, "0-") != "" {
				t.Errorf("the page exceeds the window by %s", over)
			}
		})
	}
}
