// SPDX-License-Identifier: GPL-2.0
/*
 * Where what of the fabric stands. Tiers from above: cores, then each container
 * with its aggregation switches, ToRs and SMuxes, side by side or in rows. What
 * is collapsed is a box in a grid beneath.
 */
export const CARD = 128, BOX = 62;	/* from these widths on a switch is drawn with all, with its bars */
const GAP = 8, PAD = 8, HEAD = 20;
const WIDTHS = [168, 150, 138, 128, 112, 96, 80, 70, 62, 54, 46, 41, 36];
const COLLAPSED = { w: 168, h: 74 };

/* what is above what */
const ORDER = { border: 0, core: 1, agg: 2, tor: 3, smux: 4 };

export function height(w) {
	return w >= CARD ? 106 : w >= BOX ? 54 : 32;
}

export function rank(role) {
	return role in ORDER ? ORDER[role] : 3;
}

function tiers_of(nodes) {
	const tiers = new Map();

	for (const n of nodes) {
		const r = rank(n.role);

		if (!tiers.has(r))
			tiers.set(r, []);
		tiers.get(r).push(n);
	}
	return [...tiers.entries()].sort((a, b) => a[0] - b[0]).map((e) => e[1]);
}

/* columns - how wide a container is, in switches, if no tier has more than so many rows */
function columns(tiers, rows) {
	return Math.max(1, ...tiers.map((t) => Math.ceil(t.length / Math.max(1, Math.min(rows, Math.ceil(t.length / 2))))));
}

function width_of(cols, w) {
	return cols * w + (cols - 1) * GAP + 2 * PAD;
}

/* grid - nodes of one tier in rows, centred; returns how far down it goes */
function grid(nodes, left, width, y, w, cols, out) {
	const h = height(w), n = Math.min(cols, nodes.length);
	/* fewer than there is room for stand apart */
	const gap = n > 1 ? Math.max(GAP, Math.min(w, (width - n * w) / n)) : GAP;
	const x = left + (width - n * w - (n - 1) * gap) / 2;

	nodes.forEach((data, i) => {
		out.nodes.push({ data, x: x + (i % n) * (w + gap), y: y + Math.floor(i / n) * (h + GAP), w, h });
	});
	return y + Math.ceil(nodes.length / n) * (h + GAP) - GAP;
}

function place_block(block, x, y, w, rows, between, width, out) {
	const inner = width - 2 * PAD;
	let at = y + HEAD;

	block.tiers.forEach((tier, i) => {
		at = grid(tier, x + PAD, inner, at, w, columns(block.tiers, rows), out);
		if (i < block.tiers.length - 1)
			at += tier[0].role === "tor" ? between / 2 : between;
	});
	out.blocks.push({ container: block.container, x, y, w: width, h: at + PAD - y });
	return at + PAD;
}

/* place - everything with switches of this width and tiers of so many rows; null: a container alone is too wide */
function place(fabric, width, parts, w, rows) {
	const out = { width, height: 0, bands: 0, nodes: [], blocks: [], boxes: [] };
	const between = w >= CARD ? 58 : w >= BOX ? 48 : 40, { top, blocks, closed } = parts;
	let y = 0;

	if (top.length) {
		const cw = [w, BOX, 54].find((x) => x <= w && top.length * (x + GAP) <= width) || 46;

		y = grid(top, 0, width, 2, cw, Math.max(1, Math.floor((width + GAP) / (cw + GAP))), out) + between + 12;
	}
	for (let i = 0; i < blocks.length; out.bands++) {
		const row = [];
		let used = -GAP, bottom = y;

		while (i < blocks.length) {
			const bw = width_of(columns(blocks[i].tiers, rows), w);

			if (bw > width)
				return null;
			if (row.length && used + GAP + bw > width)
				break;
			used += GAP + bw;
			row.push([blocks[i++], bw]);
		}
		const more = Math.min((width - used) / row.length, w * 0.6);
		let x = (width - used - more * row.length) / 2;

		for (const [block, bw] of row) {
			bottom = Math.max(bottom, place_block(block, x, y, w, rows, between, bw + more, out));
			x += bw + more + GAP;
		}
		y = bottom + (i < blocks.length ? between * 0.8 : GAP);
	}
	const per = Math.max(1, Math.floor((width + GAP) / (COLLAPSED.w + GAP))), bw = (width - (per - 1) * GAP) / per;

	closed.forEach((container, i) => {
		out.boxes.push({ container, x: (i % per) * (bw + GAP), y: y + Math.floor(i / per) * (COLLAPSED.h + GAP), w: bw, h: COLLAPSED.h });
	});
	out.open = y;
	out.height = y + Math.ceil(closed.length / per) * (COLLAPSED.h + GAP);
	return out;
}

/* layout - fabric: the API's answer; gives {width, height, nodes, blocks, boxes} with places. The largest switches
 * with which what is open fits into the height, else what is least high.
 */
export function layout(fabric, width, high) {
	const members = (id) => fabric.switches.concat(fabric.smuxes).filter((n) => n.container === id);
	const parts = {
		top: members("core").filter((n) => n.role !== "smux"),
		blocks: fabric.containers.filter((c) => c.shown && c.id !== "core").map((c) => ({ container: c, tiers: tiers_of(members(c.id)) })),
		closed: fabric.containers.filter((c) => !c.shown),
	};
	let best = null;

	if (!parts.blocks.length)
		return place(fabric, width, parts, parts.top.length > 16 ? BOX : CARD, 1);
	for (const w of WIDTHS)
		for (const rows of w >= CARD ? [1] : [1, 2, 3, 4]) {
			const got = place(fabric, width, parts, w, rows);

			if (got && got.open <= high)
				return got;
			if (got && (!best || got.open < best.open))
				best = got;
		}
	return best || place(fabric, Math.max(width, 1200), parts, WIDTHS[WIDTHS.length - 1], 8) || place(fabric, 4000, parts, 36, 8);
}
