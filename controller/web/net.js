// SPDX-License-Identifier: GPL-2.0
/*
 * The controller's API: questions, and the stream of events. EventSource can't
 * say a token, so the stream is read by fetch(), with what EventSource has:
 * reconnection that begins after the last event that came.
 */
import { by, text } from "./dom.js";

const KEY = "duet-token";
const TIMEOUT_MS = 20000;
const BACK_MS = [500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 40000;	/* the controller says something every 15 s */

export class Refused extends Error {
	constructor(status, body) {
		super(body && body.detail ? body.detail : `status ${status}`);
		this.status = status;
	}
}

let asking = null;

/* ask - for a token; one dialog however many questions were refused */
function ask(why) {
	const dialog = by("ask"), input = by("token");

	if (asking)
		return asking;
	text(by("ask-why"), why);
	asking = new Promise((resolve) => {
		dialog.addEventListener("close", () => {
			if (input.value)
				sessionStorage.setItem(KEY, input.value.trim());
			input.value = "";
			asking = null;
			resolve();
		}, { once: true });
		dialog.showModal();
		input.focus();
	});
	return asking;
}

function heads(more) {
	const token = sessionStorage.getItem(KEY);

	return Object.assign(token ? { Authorization: `Bearer ${token}` } : {}, more);
}

/* request - until it is not for lack of a token that it is refused; signal() for each try */
async function request(path, more, signal) {
	for (;;) {
		const with_token = sessionStorage.getItem(KEY);
		const answer = await fetch(path, { headers: heads(more), signal: signal(), cache: "no-store", credentials: "same-origin" });

		if (answer.ok)
			return answer;
		const refused = new Refused(answer.status, await answer.json().catch(() => null));

		if (answer.status !== 401 && answer.status !== 403)
			throw refused;
		/* another question may have got a new one meanwhile */
		if (sessionStorage.getItem(KEY) === with_token)
			await ask(refused.message);
	}
}

/* get - {body, took}: the answer's JSON, and for how many ms it was waited */
export async function get(path) {
	const started = performance.now();
	const answer = await request(path, {}, () => AbortSignal.timeout(TIMEOUT_MS));
	const body = await answer.json();

	return { body, took: performance.now() - started };
}

/* lines - of a body, as they come */
async function* lines(answer, alive) {
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";

	for (;;) {
		const { value, done } = await reader.read();

		if (done)
			return;
		alive();
		const parts = (rest + value).split("\n");

		rest = parts.pop();
		yield* parts;
	}
}

async function stream(after, on_event, on_open) {
	const stop = new AbortController();
	let timer = 0;
	const alive = () => {
		clearTimeout(timer);
		timer = setTimeout(() => stop.abort(), SILENCE_MS);
	};

	try {
		const answer = await request("/v1/events", Object.assign({ Accept: "text/event-stream" },
			after ? { "Last-Event-ID": String(after) } : {}), () => stop.signal);

		alive();
		on_open();
		for await (const line of lines(answer, alive))
			if (line.startsWith("data: "))
				on_event(JSON.parse(line.slice(6)));
	} finally {
		clearTimeout(timer);
	}
}

function later(ms) {
	return new Promise((resolve) => {
		setTimeout(resolve, ms);
	});
}

/* follow - events for ever: on_event(event) each once; on_state("live" | "away" | "standby", detail) */
export async function follow(on_event, on_state) {
	let last = 0, failed = 0, since = 0;
	const take = (event) => {
		if (event.id > last) {
			last = event.id;
			on_event(event);
		}
	};

	for (;;) {
		let state = "away", detail = "";

		try {
			/* what has been, for the beginning, and after a long absence what the stream doesn't tell */
			const { body } = await get(`/v1/events?limit=100${last ? `&after=${last}` : ""}`);

			body.events.forEach(take);
			await stream(last, take, () => {
				since = performance.now();
				on_state("live", "");
			});
		} catch (e) {
			detail = e instanceof Refused ? e.message : "the controller doesn't answer";
			if (e instanceof Refused && e.status === 421)
				state = "standby";
		}
		/* a connection that stood for a while was none that failed */
		failed = since && performance.now() - since > 5000 ? 0 : failed;
		since = 0;
		on_state(state, detail);
		await later(BACK_MS[Math.min(failed++, BACK_MS.length - 1)]);
	}
}
