// SPDX-License-Identifier: GPL-2.0
/*
 * What is asked when. Events say that something has changed; what they don't
 * tell (links, tables, the steps of a move) is asked for at an interval that is
 * long against the time the controller needs for the answer. A page that nobody
 * sees asks nothing.
 */
import { by, el, text } from "./dom.js";
import { Fabric } from "./fabric.js";
import * as lists from "./lists.js";
import { Refused, follow, get } from "./net.js";
import { Vips } from "./vips.js";

const EVERY_MS = 3000, MOVES_MS = 600, VIPS_MS = 1000;
const SOON_MS = 150;
const WAIT_MAX_MS = 60000;
const OPEN_MAX = 130;		/* switches of a fabric that is shown open */
const MOVES_MAX = 20;
const HOVER_MS = 150;

const open = new Set(["core"]);	/* containers in detail */
let all_open = null;		/* null: not known yet */
let control = null, status = null, selected = null, selected_switch = null;
let fabric = null, vips = null;

/* Asks - one kind of question: at an interval while nothing happens, soon after something did; never two at once */
class Asks {
	/* share - at most 1/share of the time is spent on our answers */
	constructor(every, least, share, ask) {
		Object.assign(this, { every, least, share, ask, timer: 0, busy: false, again: false, last: 0, took: 0 });
	}

	/* soon - but not sooner than least ms after the last */
	soon() {
		if (this.busy) {
			this.again = true;
			return;
		}
		this.arm(Math.max(SOON_MS, this.last + Math.max(this.least, this.rest()) - performance.now()), true);
	}

	rest() {
		return Math.min(WAIT_MAX_MS, this.took * this.share);
	}

	/* now - somebody waits for it */
	now() {
		if (this.busy)
			this.again = true;
		else
			this.arm(0, true);
	}

	arm(ms, sooner) {
		const at = performance.now() + ms;

		if (sooner && this.timer && this.due <= at)
			return;
		clearTimeout(this.timer);
		this.due = at;
		this.timer = setTimeout(() => this.run(), ms);
	}

	async run() {
		this.timer = 0;
		if (document.hidden || this.busy)
			return;		/* visibilitychange begins anew */
		this.busy = true;
		this.again = false;
		let every = 0;

		try {
			this.took = await this.ask() || 0;
			every = typeof this.every === "function" ? this.every() : this.every;
		} catch (e) {
			every = EVERY_MS;
			if (!(e instanceof Refused) && e.name !== "TypeError" && e.name !== "TimeoutError")
				throw e;	/* no answer is told where the stream's state is */
		} finally {
			this.busy = false;
			this.last = performance.now();
		}
		if (this.again)
			this.soon();
		else if (every)
			this.arm(Math.max(every, this.rest()));
	}
}

function legend(age) {
	const steps = ["<1", "<20", "<40", "<60", "<80", "≥80 %"];

	if (!by("legend").firstChild)
		by("legend").append(el("span", {}, "link load, planned "), ...steps.map((s, i) => el("span", { class: `key l${i}` }, s)),
			el("span", { class: "key down" }, "down"), el("span", { class: "quiet" }));
	text(by("legend").lastChild, age === null ? " load not known yet" : age > 15000 ? ` load of ${Math.round(age / 1000)} s ago` : "");
}

const overview = new Asks(EVERY_MS, 700, 10, async () => {
	const detail = all_open ? "*" : [...open].join(",");
	const [s, c, f] = await Promise.all([get("/v1/status"), get("/v1/control"), get(`/v1/fabric?detail=${encodeURIComponent(detail)}`)]);

	status = s.body;
	control = c.body;
	lists.status(status, control);
	vips.total = status.vips.total;
	if (all_open === null) {
		all_open = f.body.containers.reduce((n, x) => n + x.switches, 0) <= OPEN_MAX;
		if (all_open) {
			f.body.containers.forEach((x) => open.add(x.id));
			overview.again = true;
			return 0;
		}
	}
	fabric.show(f.body);
	legend(f.body["load-age-ms"]);
	if (status.vips.moving)
		moving.soon();
	/* the first answer begins a computation */
	overview.again = overview.again || f.body["load-age-ms"] === null;
	return Math.max(s.took, c.took, f.took);
});

const moving = new Asks(() => (moving.running ? MOVES_MS : 0), MOVES_MS, 4, async () => {
	const [running, recent] = await Promise.all([get(`/v1/moves?running=1&limit=${MOVES_MAX}`), get("/v1/moves?limit=6")]);
	const had = moving.running || 0, n = running.body.moves.length, all = status ? status.vips.moving : 0;

	moving.running = n;
	lists.moves(running.body.moves, recent.body.moves, n === MOVES_MAX ? Math.max(0, all - n) : 0, vips.names);
	if (had || n)
		listing.soon();
	if (had > n)
		overview.soon();
	/* those that are over are shown for a while */
	if (!n && recent.body.moves.some((m) => m.over && Date.now() - m["changed-ms"] < 21000))
		setTimeout(() => moving.soon(), 5000);
	return Math.max(running.took, recent.took);
});

const listing = new Asks(15000, VIPS_MS, 6, async () => {
	const started = performance.now();

	await vips.load();
	return performance.now() - started;
});

/* Ways - of the VIP that is selected, or else under the pointer */
let hovered = 0;

async function show_way(vip) {
	const at = ++hovered, keep = vip !== null && vip === selected;

	if (!vip) {
		fabric.mark(null, selected_switch);
		return;
	}
	try {
		const { body } = await get(`/v1/vips/${encodeURIComponent(vip)}/way`);

		if (at !== hovered)
			return;
		fabric.mark(body, selected_switch);
		if (keep)
			vips.select(vip, body);
	} catch (e) {
		if (!(e instanceof Refused))
			return;
		if (keep) {		/* it is no more */
			selected = null;
			vips.select(null, null);
		}
		fabric.mark(null, selected_switch);
	}
}

let hover_timer = 0;

function select_vip(vip) {
	clearTimeout(hover_timer);	/* it was under the pointer, or had the focus, until now */
	selected = vip;
	vips.select(vip, null);
	show_way(vip);
}

function hover_vip(vip) {
	clearTimeout(hover_timer);
	if (vip === selected)
		return;
	hover_timer = setTimeout(() => show_way(vip || selected), HOVER_MS);
}

function select_switch(d) {
	const mux = d.role === "smux" ? "smux" : d.name;

	selected_switch = selected_switch === d.name ? null : d.name;
	select_vip(null);
	vips.only(selected_switch ? mux : null);
}

function toggle(id) {
	all_open = false;
	if (!open.delete(id))
		open.add(id);
	overview.now();
}

function on_event(e) {
	lists.event(e);
	overview.soon();
	listing.soon();
	if (/move|wave|assign|abort|drain|vip|unconfirmed/.test(e.kind))
		moving.soon();
	if (selected && (e.subject === selected || e.text.includes(selected)))
		show_way(selected);
}

const said = { live: "live", away: "connection lost, trying again", standby: "stands by" };

function on_state(state, detail) {
	const line = by("line");

	line.className = state;
	text(line, `${said[state]}${state === "live" || !detail ? "" : `: ${detail}`}`);
	text(by("live"), state === "live" ? "live" : "not live");
	/* what has been missed */
	overview.soon();
	if (state === "live") {
		listing.soon();
		moving.soon();
	}
}

function begin() {
	fabric = new Fabric(by("drawing"), { select: select_switch, toggle });
	vips = new Vips({ select: select_vip, hover: hover_vip });
	legend(null);
	new ResizeObserver(() => requestAnimationFrame(() => fabric.resize())).observe(by("fabric"));
	document.addEventListener("visibilitychange", () => {
		if (!document.hidden)
			[overview, moving, listing].forEach((a) => a.soon());
	});
	document.addEventListener("keydown", (e) => {
		if (e.key !== "Escape" || by("ask").open)
			return;
		selected_switch = null;
		select_vip(null);
		vips.only(null);
	});
	overview.run();
	listing.run();
	moving.run();
	follow(on_event, on_state);
}

begin();
