// SPDX-License-Identifier: GPL-2.0
/* How one switch, SMux, container is drawn; each keeps its elements and changes what has changed. */
import { attr, count, percent, plural, rate, svg, text } from "./dom.js";
import { BOX, CARD } from "./layout.js";

const TABLES = [["vips", "host"], ["members", "ECMP"], ["tunnels", "tunnel"], ["rules", "ACL"]];
const SHOWN_VIPS = 2;
const MARKS = { unreachable: "✕", fenced: "✕", quarantined: "✕", syncing: "…", unknown: "…", refusing: "!" };

/* what is wrong in short; "" when nothing is */
const STATES = {
	"in-sync": "", syncing: "syncing", unknown: "not heard yet", unreachable: "unreachable",
	refusing: "refuses VIPs", fenced: "fenced", quarantined: "quarantined", "no-agent": "no agent",
};

/* fit - cut to a width; of a switch's name the end tells more than the beginning */
function fit(name, width, size, head) {
	const most = Math.max(3, Math.floor(width / (size * 0.6)));

	if (head && name.length > most)
		return `${name.slice(0, most - 1)}…`;
	return name.length <= most ? name : `…${name.slice(name.length - most + 1)}`;
}

function level(share) {
	return share >= 0.9 ? "full" : share >= 0.7 ? "high" : "fine";
}

function bar(x, y, w, h) {
	const back = svg("rect", { x, y, width: w, height: h, rx: h / 2, class: "track" });
	const front = svg("rect", { x, y, width: 0, height: h, rx: h / 2, class: "fill fine" });

	return {
		nodes: [back, front],
		set(share) {
			const part = Math.min(1, share);

			attr(front, "width", part ? Math.max(2, part * w).toFixed(1) : 0);
			attr(front, "class", `fill ${level(share)}`);
		},
	};
}

function condition(d) {
	if (STATES[d.state] === undefined)
		return d.state;
	return STATES[d.state] || (d.drained ? "drained" : "");
}

function told(d) {
	const tables = TABLES.map(([key, name]) => `${name} table ${d.used[key]} of ${d.limits[key] || "no limit"}`);
	const what = d.role === "smux" ? "every VIP" : plural(d.vips, "VIP");

	return `${d.role} ${d.name}, ${condition(d) || "in sync"}, ${what}${d.mbps ? `, ${rate(d.mbps)}` : ""}; ${tables.join(", ")}${d.why ? `; ${d.why}` : ""}`;
}

/* card - all that is known: name and state, VIPs, four bars with their numbers */
function card(p) {
	const { w, h } = p, kept = {};
	const name = svg("text", { x: 9, y: 16, class: "name" }), state = svg("text", { x: w - 7, y: 16, class: "state" });
	const lines = [0, 1, 2].map((i) => svg("text", { x: 9, y: 31 + i * 13, class: "vip" }));
	const bars = TABLES.map(([key, label], i) => {
		const y = h - 44 + i * 10.5, b = bar(46, y, w - 46 - 46, 5);
		const value = svg("text", { x: w - 7, y: y + 5.5, class: "value" });

		kept[key] = [b, value];
		return [svg("text", { x: 9, y: y + 5.5, class: "label" }, label), ...b.nodes, value];
	});

	return {
		nodes: [name, state, ...lines, ...bars.flat()],
		set(d) {
			const shown = d.first.slice(0, d.vips > SHOWN_VIPS + 1 ? SHOWN_VIPS : SHOWN_VIPS + 1);
			const words = shown.map((v) => v.name || v.vip), wrong = condition(d);

			if (d.role === "smux")
				words.splice(0, 3, "every VIP", d["capacity-mbps"] ? `capacity ${rate(d["capacity-mbps"])}` : "");
			else if (d.vips > shown.length)
				words.push(`and ${d.vips - shown.length} more`);
			text(name, fit(d.name, w - 18 - wrong.length * 6, 12));
			text(state, wrong);
			lines.forEach((l, i) => text(l, fit(words[i] || (i || d.vips ? "" : "no VIP"), w - 16, 11, true)));
			for (const [key] of TABLES) {
				const used = d.used[key], of = d.limits[key];

				kept[key][0].set(of ? used / of : 0);
				text(kept[key][1], of ? `${count(used)}/${count(of)}` : count(used));
			}
		},
	};
}

/* box - name, number of VIPs, four bars */
function box(p) {
	const { w } = p, name = svg("text", { x: 7, y: 13, class: "name small" });
	const number = svg("text", { x: 7, y: 25, class: "vip" }), bars = TABLES.map((_, i) => bar(7, 31 + i * 5.2, w - 14, 3.2));

	return {
		nodes: [name, number, ...bars.flatMap((b) => b.nodes)],
		set(d) {
			text(name, fit(d.name, w - 12, 11));
			text(number, condition(d) ? fit(condition(d), w - 12, 11, true) : d.role === "smux" ? "SMux" : plural(d.vips, "VIP"));
			TABLES.forEach(([key], i) => bars[i].set(d.limits[key] ? d.used[key] / d.limits[key] : 0));
		},
	};
}

/* chip - name, number of VIPs, the fullest table */
function chip(p) {
	const { w } = p, name = svg("text", { x: w / 2, y: 12, class: "name tiny" });
	const number = svg("text", { x: w / 2, y: 22, class: "vip tiny" }), b = bar(4, 26, w - 8, 3);

	return {
		nodes: [name, number, ...b.nodes],
		set(d) {
			text(name, fit(d.name, w - 4, 9));
			text(number, d.drained ? "drained" : MARKS[d.state] || (d.role === "smux" || d.state === "no-agent" ? "" : d.vips || "–"));
			b.set(Math.max(...TABLES.map(([key]) => (d.limits[key] ? d.used[key] / d.limits[key] : 0))));
		},
	};
}

/* switch_at - a switch or SMux at its place; on: {select(name), hover(name or null)} */
export function switch_at(p, on) {
	const inside = p.w >= CARD ? card(p) : p.w >= BOX ? box(p) : chip(p), title = svg("title");
	const pick = () => on.select(p.data);
	const node = svg("g", {
		transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`, tabindex: 0, role: "button", "data-name": p.data.name,
		onclick: pick,
		onkeydown: (e) => {
			if (e.key === "Enter" || e.key === " ") {
				e.preventDefault();
				pick();
			}
		},
	}, title, svg("rect", { width: p.w, height: p.h, rx: 6, class: "body" }),
	svg("rect", { x: 0, y: 0, width: 4, height: p.h, rx: 2, class: "stripe" }), ...inside.nodes);

	return {
		node, place: p,
		update(d, marks) {
			const words = told(d);

			attr(node, "class", `node ${d.role} s-${d.state}${d.drained ? " drained" : ""} ${marks}`);
			attr(node, "aria-label", words);
			text(title, words);
			inside.set(d);
		},
	};
}

function troubled(states) {
	return Object.entries(states).filter(([s]) => s !== "in-sync" && s !== "no-agent").map(([s, n]) => `${n} ${STATES[s] || s}`);
}

/* container_at - a collapsed container, which opens */
export function container_at(p, toggle) {
	const title = svg("text", { x: 10, y: 18, class: "name" }), what = svg("text", { x: 10, y: 33, class: "vip" });
	const fill = bar(58, 42, p.w - 58 - 52, 5), load = bar(58, 55, p.w - 58 - 52, 5);
	const filled = svg("text", { x: p.w - 8, y: 47.5, class: "value" }), loaded = svg("text", { x: p.w - 8, y: 60.5, class: "value" });
	const state = svg("text", { x: p.w - 8, y: 18, class: "state" });
	const open = () => toggle(p.container.id);
	const node = svg("g", {
		transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`, tabindex: 0, role: "button", "aria-expanded": "false",
		"data-container": p.container.id, onclick: open,
		onkeydown: (e) => {
			if (e.key === "Enter" || e.key === " ") {
				e.preventDefault();
				open();
			}
		},
	}, svg("rect", { width: p.w, height: p.h, rx: 6, class: "body" }), title, state, what,
	svg("text", { x: 10, y: 47.5, class: "label" }, "tables"), ...fill.nodes, filled,
	svg("text", { x: 10, y: 60.5, class: "label" }, "links"), ...load.nodes, loaded);

	return {
		node, place: p,
		update(c, marks) {
			const bad = troubled(c.states).concat(troubled(c["smux-states"])), down = c["links-down"];

			if (down)
				bad.push(`${plural(down, "link")} down`);
			text(title, c.id === "core" ? "core" : `container ${c.id}`);
			text(what, fit(`${c.switches} switches · ${count(c.vips)} VIPs${c.mbps ? `, ${rate(c.mbps)}` : ""}`, p.w - 14, 10.6, true));
			text(state, bad.length > 1 || (bad[0] || "").length > 16 ? `${plural(bad.length, "kind")} of trouble` : bad[0] || "");
			fill.set(c.fill);
			load.set(c.load);
			text(filled, percent(c.fill));
			text(loaded, percent(c.load));
			attr(node, "class", `node container${bad.length ? " troubled" : ""} ${marks}`);
			attr(node, "aria-label", `container ${c.id}: ${plural(c.switches, "switch", "switches")}, ${plural(c.vips, "VIP")}, fullest table ${percent(c.fill)}, most loaded link ${percent(c.load)}${bad.length ? `; ${bad.join(", ")}` : ""}; opens`);
		},
	};
}

/* frame_at - around an open container, with its name to close it */
export function frame_at(p, toggle, alone) {
	const close = () => toggle(p.container.id), label = svg("text", { x: 9, y: 14, class: "frame-name" });
	const node = svg("g", { transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})`, class: "frame" },
		svg("rect", { width: p.w, height: p.h, rx: 8 }),
		alone ? label : svg("g", {
			tabindex: 0, role: "button", "aria-expanded": "true", "aria-label": `container ${p.container.id}: collapse`, onclick: close,
			onkeydown: (e) => {
				if (e.key === "Enter" || e.key === " ") {
					e.preventDefault();
					close();
				}
			},
		}, label));

	return {
		node,
		update(c) {
			text(label, `${alone ? "" : "▾ "}container ${c.id}`);
		},
	};
}
