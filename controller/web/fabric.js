// SPDX-License-Identifier: GPL-2.0
/*
 * The fabric as a drawing: links beneath, switches above. It is made anew only
 * if something of its shape changes (a switch more, another width, a container
 * opened); else what is there is told what is new, so that focus and hover stay.
 */
import { attr, percent, rate, svg, text } from "./dom.js";
import { CARD, layout, rank } from "./layout.js";
import { container_at, frame_at, switch_at } from "./node.js";

const LABELS_MAX = 64;	/* links with their load in numbers; with more, only those that carry much */
const MUCH = 0.9;

function share_of(l) {
	return l["mbps-ab"] === null ? null : Math.max(l["mbps-ab"], l["mbps-ba"]) / l.mbps;
}

function step_of(share) {
	return share === null ? "none" : share < 0.01 ? 0 : share < 0.2 ? 1 : share < 0.4 ? 2 : share < 0.6 ? 3 : share < 0.8 ? 4 : 5;
}

function is_down(l) {
	return l.state === "down" || l.state === "missing";
}

function key_of(l) {
	return `${l.a}|${l["port-a"]}|${l.b}|${l["port-b"]}`;
}

function pair(a, b) {
	return a < b ? `${a}|${b}` : `${b}|${a}`;
}

/* ports - where links meet a switch's edge: side by side, in the order of what they lead to */
function ports(links, places) {
	const at = new Map(), out = new Map();

	for (const l of links)
		for (const [here, there] of [[l.a, l.b], [l.b, l.a]]) {
			const h = places.get(here), t = places.get(there);

			if (!h || !t)
				continue;
			const side = `${here}|${t.y > h.y ? "down" : "up"}`;

			if (!at.has(side))
				at.set(side, []);
			at.get(side).push([l, h, t]);
		}
	for (const list of at.values()) {
		list.sort((p, q) => p[2].x - q[2].x || key_of(p[0]).localeCompare(key_of(q[0])));
		list.forEach(([l, h, t], i) => out.set(`${key_of(l)}|${h.data.name}`,
			{ x: h.x + (h.w * (i + 1)) / (list.length + 1), y: t.y > h.y ? h.y + h.h : t.y < h.y ? h.y : h.y + h.h }));
	}
	return out;
}

/* far - it would be drawn across other containers: faintly, until there is something to see */
function link_at(l, ends, upper, small, far) {
	const [p, q] = upper ? [ends[0], ends[1]] : [ends[1], ends[0]], level = Math.abs(p.y - q.y) < 2;
	const d = level ? `M${p.x} ${p.y}Q${(p.x + q.x) / 2} ${p.y + 34} ${q.x} ${q.y}` : `M${p.x} ${p.y}L${q.x} ${q.y}`;
	const line = svg("path", { d }), title = svg("title"), hit = svg("path", { d, class: "hit" }, title);
	/* near the lower end, where they don't cross */
	const k = level ? 0.5 : 0.8, x = p.x + (q.x - p.x) * k, y = p.y + (q.y - p.y) * k + (level ? 17 : 0);
	const label = svg("text", { x: x.toFixed(1), y: (y + 3.5).toFixed(1), class: "load" });
	const node = svg("g", { "data-a": l.a, "data-b": l.b }, line, hit), front = svg("g", {}, label);

	return {
		node, front,
		update(now, marks, labelled) {
			const share = share_of(now), down = is_down(now);

			attr(node, "class", `link${far ? " far" : ""} ${down ? "down" : `l${step_of(share)}`} ${marks}`);
			attr(line, "stroke-width", ((small ? 1 : 1.6) + (share || 0) * (small ? 2 : 4)).toFixed(1));
			text(label, down ? "down" : share !== null && share > 0 && (labelled || share >= MUCH) ? percent(share) : "");
			attr(front, "class", `${down ? "down" : ""} ${marks}`);
			text(title, `${now.a} ${now["port-a"]} – ${now.b} ${now["port-b"]}, ${rate(now.mbps)}: ${down ? `${now.state}, says ${now["told-by"]}` : now.state}` +
				(share === null ? "" : `; ${now.a} to ${now.b} ${rate(now["mbps-ab"])}, back ${rate(now["mbps-ba"])}, ${percent(share)}`));
		},
	};
}

/* Marks - what of the fabric a VIP touches: where it lives, the ways in and out, the racks of its DIPs */
export class Marks {
	constructor(way) {
		this.nodes = new Map();
		this.links = new Map();
		if (!way)
			return;
		this.walk(way["way-out"], "way-out");
		this.walk(way["way-in"], "way-in");
		for (const d of way.dips)
			if (d.switch)
				this.add(d.switch, d.state === "up" ? "rack" : "rack ill");
		for (const m of way.muxes)
			this.add(m.name, "home");
		this.muxes = way.muxes;
	}

	add(name, mark) {
		this.nodes.set(name, `${this.nodes.get(name) || ""} ${mark}`);
	}

	walk(ways, mark) {
		for (const w of ways) {
			let before = w.from;

			for (const hop of w.hops) {
				for (const b of hop)
					for (const a of before)
						this.links.set(pair(a, b), mark);
				hop.forEach((b) => this.add(b, mark));
				before = hop;
			}
			w.from.forEach((a) => this.add(a, mark));
		}
	}

	node(name) {
		return this.muxes ? this.nodes.get(name) || "dim" : "";
	}

	link(a, b) {
		return this.muxes ? this.links.get(pair(a, b)) || "dim" : "";
	}
}

export class Fabric {
	/* on: {select(switch), toggle(container)} */
	constructor(parent, on) {
		this.parent = parent;
		this.on = on;
		this.marks = new Marks(null);
		this.selected = null;
		this.data = null;
		this.shape = "";
	}

	mark(way, selected) {
		this.marks = new Marks(way);
		this.selected = selected;
		if (this.data)
			this.show(this.data);
	}

	/* own_links - those of SMuxes to their racks, which the API doesn't list among the fabric's */
	static own_links(data) {
		return data.smuxes.map((s) => ({ a: s.switch, "port-a": "", b: s.name, "port-b": "", mbps: s["capacity-mbps"] || 1,
			state: s.state === "unreachable" ? "unknown" : "up", "told-by": null, "mbps-ab": null, "mbps-ba": null }));
	}

	shape_of(data, width, high) {
		return JSON.stringify([width, high, data.switches.map((s) => [s.name, s.role]), data.smuxes.map((s) => s.name),
			data.containers.map((c) => [c.id, c.shown]), data.links.length]);
	}

	draw(data, links, width, high) {
		const plan = layout(data, width, high), places = new Map(plan.nodes.map((p) => [p.data.name, p]));
		const meet = ports(links, places), lines = svg("g", { class: "links" }), labels = svg("g", { class: "labels" });
		const frames = svg("g", {}), nodes = svg("g", {}), alone = data.containers.every((c) => c.shown) && data.switches.length <= 16;
		const small = plan.nodes.some((p) => p.w < CARD);

		this.frames = plan.blocks.map((p) => [p.container.id, frame_at(p, this.on.toggle, alone)]);
		this.boxes = plan.boxes.map((p) => [p.container.id, container_at(p, this.on.toggle)]);
		this.nodes = plan.nodes.map((p) => [p.data.name, switch_at(p, this.on)]);
		this.links = new Map();
		for (const l of links) {
			const a = places.get(l.a), b = places.get(l.b);

			if (!a || !b)
				continue;
			const ends = [l.a, l.b].map((n) => meet.get(`${key_of(l)}|${n}`));
			const far = Math.abs(ends[0].y - ends[1].y) > 170;
			const one = link_at(l, ends, rank(a.data.role) <= rank(b.data.role), small, far);

			this.links.set(key_of(l), one);
			lines.append(one.node);
			labels.append(one.front);
		}
		frames.append(...this.frames.map((f) => f[1].node));
		nodes.append(...this.nodes.map((n) => n[1].node), ...this.boxes.map((b) => b[1].node));
		this.parent.replaceChildren(svg("svg", { width: plan.width, height: plan.height, viewBox: `0 0 ${plan.width} ${plan.height}`, role: "group", "aria-label": "switches and links" },
			frames, lines, nodes, labels));
	}

	/* show - the API's answer, as it is now */
	show(data) {
		/* faults come and go on top: not for each of them all is to be drawn in another size */
		const width = Math.max(320, this.parent.clientWidth), high = Math.max(650, Math.round((window.innerHeight - 110) / 50) * 50);
		const links = data.links.concat(Fabric.own_links(data));
		const shape = this.shape_of(data, width, high), labelled = links.length <= LABELS_MAX;
		const of = new Map(data.switches.concat(data.smuxes).map((s) => [s.name, s])), ids = new Map(data.containers.map((c) => [c.id, c]));

		this.data = data;
		if (shape !== this.shape) {
			const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.name : null;

			this.draw(data, links, width, high);
			this.shape = shape;
			if (focused)
				this.parent.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
		}
		for (const [name, n] of this.nodes)
			n.update(of.get(name), this.marks.node(name) + (this.selected === name ? " selected" : ""));
		for (const [id, f] of this.frames.concat(this.boxes))
			f.update(ids.get(id), "");
		for (const l of links) {
			const one = this.links.get(key_of(l));

			if (one)
				one.update(l, this.marks.link(l.a, l.b), labelled);
		}
	}

	/* resize - the same in another width */
	resize() {
		if (this.data)
			this.show(this.data);
	}
}
