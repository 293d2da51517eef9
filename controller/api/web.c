// SPDX-License-Identifier: GPL-2.0
/*
 * The page for browsers: files of controller/web, which are in the program as
 * they are. They hold no data and are everybody's, so that the page can ask for
 * a token; what it shows comes by the same API as everything else.
 */
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "gate.h"

/* embed - a file as a string: a symbol, its bytes, a 0; paths are from the top (build.mk knows the dependency) */
#define embed(symbol, file)                                                                     \
	extern const char symbol[];                                                             \
	__asm__(".section .rodata\n" #symbol ":\n.incbin \"controller/web/" file "\"\n.byte 0\n" \
		".previous\n")

embed(web_index, "index.html");
embed(web_css, "page.css");
embed(web_icon, "icon.svg");
embed(web_page, "page.js");
embed(web_dom, "dom.js");
embed(web_net, "net.js");
embed(web_layout, "layout.js");
embed(web_fabric, "fabric.js");
embed(web_node, "node.js");
embed(web_vips, "vips.js");
embed(web_lists, "lists.js");

static const struct web_file {
	const char *name, *type, *text;
} files[] = {
	{ "", "text/html; charset=utf-8", web_index },
	{ "page.css", "text/css; charset=utf-8", web_css },
	{ "icon.svg", "image/svg+xml", web_icon },
	{ "page.js", "text/javascript; charset=utf-8", web_page },
	{ "dom.js", "text/javascript; charset=utf-8", web_dom },
	{ "net.js", "text/javascript; charset=utf-8", web_net },
	{ "layout.js", "text/javascript; charset=utf-8", web_layout },
	{ "fabric.js", "text/javascript; charset=utf-8", web_fabric },
	{ "node.js", "text/javascript; charset=utf-8", web_node },
	{ "vips.js", "text/javascript; charset=utf-8", web_vips },
	{ "lists.js", "text/javascript; charset=utf-8", web_lists },
	{}
};

/* nothing from elsewhere, nothing inline, in nobody's frame: a VIP's name can't become a script */
static const char policy[] =
	"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

void api_web_get(struct http_request *req, json_t *body, void *ctx)
{
	const char *name = http_segment(req, 0), *known = http_header(req, "If-None-Match");
	const struct web_file *f;
	char hex[65], etag[24];

	for (f = files; f->name; f++)
		if (!strcmp(f->name, name ? name : ""))
			break;
	if (!f->name) {
		http_problem(req, 404, NULL, "there is no %s here", http_path(req));
		return;
	}
	auth_hash(f->text, hex);
	snprintf(etag, sizeof(etag), "\"%.16s\"", hex);
	http_reply_header(req, "ETag", etag);
	http_reply_header(req, "Cache-Control", "no-cache");	/* kept, and asked about each time */
	http_reply_header(req, "Content-Security-Policy", policy);
	http_reply_header(req, "X-Content-Type-Options", "nosniff");
	http_reply_header(req, "Referrer-Policy", "no-referrer");
	if (known && strstr(known, etag))
		http_reply(req, 304, NULL);
	else
		http_reply_text(req, 200, f->type, f->text);
}
