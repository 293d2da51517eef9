// SPDX-License-Identifier: GPL-2.0
/* The list of VIPs, a page at a time: where each lives, and its DIPs with their health. */
import { attr, by, count, el, keyed, plural, rate, text } from "./dom.js";
import { get } from "./net.js";

const PER_PAGE = 25;
const DOTS = 16;	/* DIPs as dots; the rest is a number */
const WAIT_MS = 250;	/* after a key */

function dips_of(v) {
	const down = new Map(v.status.down.map((d) => [`${d.dip}|${d.rule}`, d.reason]));

	return v.rules.flatMap((rule, r) => rule.dips.map((d) => {
		const why = down.get(`${d.address}|${r}`);

		return { address: d.address, state: d.state === "down" ? "disabled" : why === undefined ? "up" : "down", why: why || "" };
	}));
}

function place_of(v) {
	const s = v.status, name = (m) => (m === "smux" ? "SMuxes" : m);

	return s.move === null || s.mux === s.wanted ? name(s.mux) : `${name(s.mux)} → ${name(s.wanted)}`;
}

function dots(v) {
	const all = dips_of(v), bad = all.filter((d) => d.state === "down").length, off = all.filter((d) => d.state === "disabled").length;
	/* those that are ill are seen, however many there are */
	const shown = all.length > DOTS ? all.filter((d) => d.state !== "up").concat(all.filter((d) => d.state === "up")).slice(0, DOTS) : all;
	const words = `${plural(all.length, "DIP")}${bad ? `, ${bad} down` : ""}${off ? `, ${off} disabled` : ""}`;

	return el("span", { class: "dots", role: "img", "aria-label": words, title: words },
		...shown.map((d) => el("i", { class: `dot ${d.state}` })),
		all.length > shown.length ? el("span", { class: "quiet" }, `+${all.length - shown.length}`) : null,
		bad ? el("b", { class: "bad" }, ` ${bad} down`) : null);
}

/* details - of the one that is selected; way may be null still */
function details(v, way) {
	const s = v.status, dips = way ? way.dips : dips_of(v).map((d) => ({ address: d.address, state: d.state, reason: d.why }));
	const list = dips.slice(0, 64).map((d) => el("li", { class: d.state },
		el("i", { class: `dot ${d.state}` }), ` ${d.address}`,
		d.host ? el("span", { class: "quiet" }, ` ${d.host} on ${d.switch}`) : null,
		d["host-state"] === "silent" ? el("b", { class: "bad" }, " host silent;") : null,
		d.state !== "up" ? el("b", { class: "bad" }, ` ${d.state}${d.reason ? `: ${d.reason}` : ""}`) : null));

	return el("div", { class: "details" },
		el("p", {}, s.reason ? `${s.reason}${s.mru === null ? "" : ` (MRU ${s.mru.toFixed(3)})`}` : s.mux === "smux" ? "on the SMuxes" : "placed by hand"),
		s["exported-by"].length ? el("p", { class: "quiet" }, `announced by ${s["exported-by"].join(", ")}`) : null,
		el("ul", {}, ...list),
		dips.length > 64 ? el("p", { class: "quiet" }, `and ${dips.length - 64} more`) : null,
		way && way.racks > way["racks-told"] ? el("p", { class: "quiet" }, `ways to ${way["racks-told"]} of ${way.racks} racks are drawn`) : null);
}

export class Vips {
	/* on: {select(vip or null), hover(vip or null)} */
	constructor(on) {
		this.on = on;
		this.after = [""];	/* where each page up to this one begins */
		this.mux = null;
		this.selected = null;
		this.way = null;
		this.items = [];
		this.names = new Map();	/* of those that were seen, for moves */
		this.running = null;
		by("find").addEventListener("input", () => {
			clearTimeout(this.timer);
			this.timer = setTimeout(() => this.restart(), WAIT_MS);
		});
		by("filter").addEventListener("click", () => this.only(null));
	}

	/* only - those of a mux, or all */
	only(mux) {
		this.mux = mux;
		by("filter").hidden = !mux;
		text(by("filter"), mux ? `on ${mux === "smux" ? "the SMuxes" : mux} ✕` : "");
		attr(by("filter"), "aria-label", mux ? `only those on ${mux}; press to show all` : "");
		this.restart();
	}

	restart() {
		this.after = [""];
		this.load();
	}

	/* load - this page; what is asked while an answer is awaited is asked once more after it */
	async load() {
		if (this.running) {
			this.again = true;
			return this.running;
		}
		this.running = this.fetch();
		try {
			await this.running;
		} finally {
			this.running = null;
		}
		if (this.again) {
			this.again = false;
			return this.load();
		}
		return undefined;
	}

	async fetch() {
		const find = by("find").value.trim(), after = this.after[this.after.length - 1];
		const query = new URLSearchParams({ limit: PER_PAGE });

		if (find)
			query.set("find", find);
		if (this.mux)
			query.set("mux", this.mux);
		if (after)
			query.set("after", after);
		const { body } = await get(`/v1/vips?${query}`);

		if (!body.vips.length && this.after.length > 1) {
			this.after.pop();	/* they have gone meanwhile */
			this.again = true;
			return;
		}
		this.items = body.vips;
		for (const v of body.vips)
			this.names.set(v.vip, v.name);
		this.next = body.next;
		this.draw();
	}

	select(vip, way) {
		this.selected = vip;
		this.way = way;
		this.draw();
	}

	row() {
		const name = el("span", { class: "name" }), address = el("span", { class: "quiet" }), place = el("span", { class: "place" });
		const traffic = el("span", { class: "rate" }), health = el("span", {}), more = el("div");
		const button = el("button", { type: "button", class: "vip" }, el("span", { class: "who" }, name, " ", address), place, traffic, health);
		const node = el("li", {}, button, more);
		let vip = "", seen = "";

		button.addEventListener("click", () => this.on.select(this.selected === vip ? null : vip));
		for (const [kind, over] of [["mouseenter", true], ["focus", true], ["mouseleave", false], ["blur", false]])
			button.addEventListener(kind, () => this.on.hover(over ? vip : null));
		return {
			node,
			update: (v) => {
				const open = this.selected === v.vip, now = JSON.stringify([v, open && this.way, open]);

				vip = v.vip;
				if (now === seen)
					return;
				seen = now;
				text(name, v.name || "");
				text(address, v.vip);
				text(place, place_of(v));
				attr(place, "class", `place${v.status.move !== null ? " moving" : ""}${v.status.mux === "smux" ? " smux" : ""}`);
				text(traffic, rate(v.status.mbps));
				health.replaceChildren(dots(v));
				attr(button, "aria-expanded", open);
				attr(node, "class", open ? "open" : "");
				attr(node, "data-vip", v.vip);
				more.replaceChildren(...(open ? [details(v, this.way)] : []));
			},
		};
	}

	draw() {
		if (!this.ul) {
			this.ul = el("ul", { class: "rows", "aria-label": "VIPs" });
			this.none = el("p", { class: "quiet" });
			by("list").append(this.ul, this.none);
		}
		keyed(this.ul, this.items, (v) => v.vip, () => this.row());
		text(this.none, this.items.length ? "" : by("find").value || this.mux ? "no VIP fits" : "no VIP is configured");
		this.pages();
	}

	pages() {
		const page = this.after.length, turn = (by_one) => () => {
			if (by_one > 0)
				this.after.push(this.next);
			else
				this.after.pop();
			this.load();
		};

		if (!this.buttons) {
			this.buttons = [el("button", { type: "button", onclick: turn(-1) }, "previous"), el("span", { class: "quiet" }),
				el("button", { type: "button", onclick: turn(1) }, "next")];
			by("pages").append(...this.buttons);
		}
		by("pages").hidden = page === 1 && !this.next;
		this.buttons[0].disabled = page === 1;
		this.buttons[2].disabled = !this.next;
		const total = this.total && !this.mux && !by("find").value ? ` of ${count(Math.ceil(this.total / PER_PAGE))}` : "";

		text(this.buttons[1], `page ${page}${total}`);
	}
}
