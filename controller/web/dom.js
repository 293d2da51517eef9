// SPDX-License-Identifier: GPL-2.0
/*
 * Elements. All text goes in as text: what VIPs are called, and what others
 * say of them, is nobody's markup.
 */
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attrs, children) {
	for (const [key, value] of Object.entries(attrs || {})) {
		if (value === undefined || value === null || value === false)
			continue;
		if (key.startsWith("on"))
			node.addEventListener(key.slice(2), value);
		else
			node.setAttribute(key, value === true ? "" : value);
	}
	for (const child of children)
		if (child !== null && child !== undefined)
			node.append(child instanceof Node ? child : String(child));
	return node;
}

export function el(tag, attrs, ...children) {
	return fill(document.createElement(tag), attrs, children);
}

export function svg(tag, attrs, ...children) {
	return fill(document.createElementNS(SVG, tag), attrs, children);
}

export function by(id) {
	return document.getElementById(id);
}

/* set - text or an attribute only if it is another: nothing is drawn, and nothing read aloud, for nothing */
export function text(node, value) {
	const want = String(value);

	if (node.textContent !== want)
		node.textContent = want;
}

export function attr(node, key, value) {
	const want = String(value);

	if (node.getAttribute(key) !== want)
		node.setAttribute(key, want);
}

/* keyed - make the children of parent those of items: kept by key where they were; make(item) gives an object
 * with "node" and update(item)
 */
export function keyed(parent, items, key, make) {
	const had = parent.keyed || new Map(), now = new Map();
	let at = parent.firstChild;

	for (const item of items) {
		const k = key(item);
		const one = now.get(k) || had.get(k) || make(item);

		one.update(item);
		now.set(k, one);
		if (one.node === at)
			at = at.nextSibling;
		else
			parent.insertBefore(one.node, at);
	}
	for (const [k, one] of had)
		if (now.get(k) !== one)
			one.node.remove();
	parent.keyed = now;
}

export function count(n) {
	return n >= 1e6 ? `${(n / 1e6).toFixed(1)}M` : n >= 1e4 ? `${Math.round(n / 1e3)}k` : String(n);
}

export function rate(mbps) {
	if (mbps >= 1e6)
		return `${(mbps / 1e6).toFixed(1)} Tbps`;
	if (mbps >= 1e3)
		return `${(mbps / 1e3).toFixed(1)} Gbps`;
	return `${mbps >= 10 || !mbps ? Math.round(mbps) : mbps.toFixed(1)} Mbps`;
}

export function percent(share) {
	const p = share * 100;

	return p > 0 && p < 1 ? "<1 %" : `${Math.round(p)} %`;
}

export function clock(ms) {
	const d = new Date(ms), two = (n) => String(n).padStart(2, "0");

	return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function plural(n, one, many) {
	return `${n} ${n === 1 ? one : many || `${one}s`}`;
}
