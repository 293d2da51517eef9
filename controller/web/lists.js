// SPDX-License-Identifier: GPL-2.0
/* Moves with their steps, events, and the line on top that says how things are. */
import { attr, by, clock, count, el, keyed, plural, rate, text } from "./dom.js";

const STEPS = ["preparing", "withdrawing", "switching", "announcing"];
const EVENTS_MAX = 200;
const FAULTS_MAX = 50;
const OVER_MS = 20000;	/* how long a move that is over is shown still */
const BAD = /lost|down|failed|refused|silent|held|not-told|unconfirmed|aborted|stopped|raised/;
const GOOD = /found|up$|heard|moved|resumed|added|started|cleared/;

function to_name(mux) {
	return mux === "smux" ? "SMuxes" : mux;
}

let names = new Map();

function move_row() {
	const what = el("span", { class: "what" }), way = el("span", { class: "way" }), step = el("span", { class: "step" });
	const note = el("span", { class: "quiet note" }), dots = STEPS.map(() => el("i"));
	const node = el("li", {}, el("span", { class: "steps", "aria-hidden": "true" }, ...dots), what, way, step, note);

	return {
		node,
		update(m) {
			const at = STEPS.indexOf(m.state), ms = (m.over ? m["changed-ms"] : Date.now()) - m["created-ms"];

			attr(node, "class", m.over ? `over ${m.state}` : m.waiting ? "waiting" : "runs");
			attr(node, "data-move", m.id);
			dots.forEach((d, i) => attr(d, "class", m.state === "done" || (at >= 0 && i < at) ? "past" : i === at ? "now" : ""));
			text(what, names.get(m.vip) ? `${names.get(m.vip)} ${m.vip}` : m.vip);
			text(way, m.kind === "move" ? `${to_name(m.from)} → ${to_name(m.to)}` : m.kind === "change" ? "changes its DIPs" : "goes");
			text(step, `${m.waiting && !m.over ? "waits" : m.state}${ms > 0 && ms < 86400e3 ? ` ${(ms / 1000).toFixed(1)} s` : ""}`);
			text(note, m.note || "");
		},
	};
}

/* moves - those that run, and those that were over a moment ago */
export function moves(running, recent, more, known) {
	const over = recent.filter((m) => m.over && Date.now() - m["changed-ms"] < OVER_MS);
	const list = running.concat(over.filter((m) => !running.some((r) => r.id === m.id)));

	names = known;
	if (!by("running").firstChild)
		by("running").append(el("ul", { class: "rows", "aria-label": "running moves" }), el("p", { class: "quiet" }));
	keyed(by("running").firstChild, list, (m) => m.id, move_row);
	text(by("running").lastChild, list.length ? more ? `and ${more} more` : "" : "none runs");
}

/* event - newest on top; what somebody reads is not moved under his eyes */
export function event(e) {
	const log = by("log"), kind = BAD.test(e.kind) ? "bad" : GOOD.test(e.kind) ? "good" : "";
	const at = el("time", { datetime: new Date(e["at-ms"]).toISOString(), title: new Date(e["at-ms"]).toLocaleString() }, clock(e["at-ms"]));
	const item = el("li", { "data-event": e.id }, at, " ", el("b", { class: kind }, e.kind), " ", el("span", { class: "subject" }, e.subject),
		" ", el("span", { class: "quiet" }, e.text));
	const reads = log.scrollTop > 4, before = log.scrollHeight;

	log.prepend(item);
	while (log.childElementCount > EVENTS_MAX)
		log.lastElementChild.remove();
	if (reads)
		log.scrollTop += log.scrollHeight - before;
}

function chip(label, value, state) {
	return el("span", { class: `chip ${state || ""}` }, el("b", {}, value), ` ${label}`);
}

/* fault - its sentence, and below since when it is there and what to do */
function fault(f) {
	return el("li", { class: f.severity, "data-code": f.code }, f.sentence,
		el("p", { class: "quiet" }, el("b", {}, f.code), ` since ${clock(f["since-ms"])}. ${f.remedy}`));
}

/* status - counts, and every fault, severe ones first as the controller has them */
export function status(s, control) {
	const all = by("health"), m = s.muxes, d = s.dips, h = s.hosts;
	const list = s.faults.slice(0, FAULTS_MAX).map(fault);
	const { fault: faults, warning: warnings } = s["fault-counts"], total = faults + warnings;

	text(by("name"), s.name);
	document.title = `${total ? `(${total}) ` : ""}Duet ${s.name}`;
	text(all, total ? [faults ? plural(faults, "fault") : "", warnings ? plural(warnings, "warning") : ""].filter((x) => x).join(", ") : "all is well");
	attr(all, "class", faults ? "bad" : warnings ? "warn" : "good");
	by("counts").replaceChildren(
		control && control.stop ? chip("moves are stopped", "STOP", "bad") : "",
		chip("muxes in sync", `${m["in-sync"]}/${m.total}`, m["in-sync"] === m.total ? "" : "bad"),
		chip(`VIPs, ${count(s.vips["on-smux"])} on SMuxes`, count(s.vips.total)),
		chip(d.down ? `DIPs, ${d.down} down` : "DIPs", count(d.total), d.down ? "bad" : ""),
		chip(h.silent ? `hosts, ${h.silent} silent` : "hosts", count(h.total), h.silent ? "bad" : ""),
		el("span", { class: "quiet" }, `epoch ${s.epoch} · ${s.aggregate} · ${s.version}`));
	by("faults").hidden = !total;
	if (total && JSON.stringify(s.faults) !== by("faults").told) {
		by("faults").told = JSON.stringify(s.faults);
		by("faults").replaceChildren(el("ul", {}, ...list),
			total > FAULTS_MAX ? el("p", {}, `and ${total - FAULTS_MAX} more: duetctl status`) : "");
	}
	const { "transit-mbps": transit, "resting-mbps": rests, "smux-mbps": carry } = s.moves;

	text(by("transit"), `SMuxes, planned: ${rate(rests)} of VIPs${transit ? `, ${rate(transit)} in transit` : ""}${carry ? `; capacity ${rate(carry)}` : ""}`);
}
