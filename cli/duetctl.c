// SPDX-License-Identifier: GPL-2.0
/* duetctl: the controller from the command line. Options and commands. */
#include "duetctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon.h"

static const char usage_text[] =
	"usage: duetctl [-c URL] [-j] COMMAND\n"
	"\n"
	"  status                      is all well, and if not what is it\n"
	"  vip list | vip show VIP     VIPs, where they live, their DIPs\n"
	"  vip delete VIP [--wait]     withdraw it, then remove it\n"
	"  dip list                    DIPs of all VIPs and their health\n"
	"  mux list | host list        the agents\n"
	"  assignment                  which switch serves which VIP, and why\n"
	"  assign [--dry-run] [--wait] compute it anew and move what should move\n"
	"  apply -f FILE [--wait]      make the VIPs what FILE says (- is standard input)\n"
	"  move VIP smux|SWITCH [--wait]\n"
	"  drain | undrain switch|rack|smux NAME\n"
	"  stop | resume               all moves, everywhere\n"
	"  abort MOVE                  it goes back to where it came from\n"
	"  moves [-n N] | events [-n N]\n"
	"  topology                    switches and links\n"
	"\n"
	"  -c, --controller URL        default $DUETCTL_URL, else http://127.0.0.1:8470\n"
	"  -j, --json                  what the controller says, as it is\n"
	"  -w, --wait                  until the moves that follow are over (--timeout SECONDS, 60)\n"
	"  -h, --help                  -V, --version\n"
	"\n"
	"exit code: 0 done, 1 refused or failed, 2 wrong usage\n";

static int usage(const char *problem, const char *what)
{
	fprintf(stderr, "duetctl: %s%s%s\nduetctl --help says how\n", problem, what ? " " : "",
		what ? what : "");
	return 2;
}

/* run - words are the command; n is their number */
static int run(const struct ctl *c, int n, char **words)
{
	static const struct {
		const char *name, *sub;
		int (*show)(const struct ctl *c);
	} plain[] = {
		{ "status", NULL, show_status },	{ "assignment", NULL, show_assignment },
		{ "assign", NULL, change_assign },	{ "apply", NULL, change_apply },
		{ "moves", NULL, show_moves },		{ "events", NULL, show_events },
		{ "topology", NULL, show_topology },	{ "vip", "list", show_vips },
		{ "dip", "list", show_dips },		{ "mux", "list", show_muxes },
		{ "host", "list", show_hosts },
	};
	unsigned int i;

	for (i = 0; i < sizeof(plain) / sizeof(*plain); i++) {
		int words_needed = plain[i].sub ? 2 : 1;

		if (strcmp(words[0], plain[i].name) ||
		    (plain[i].sub && (n < 2 || strcmp(words[1], plain[i].sub))))
			continue;
		if (n > words_needed)
			return usage("too many words:", words[words_needed]);
		if (plain[i].show == change_apply && !c->file)
			return usage("apply needs -f FILE", NULL);
		return plain[i].show(c);
	}
	if (!strcmp(words[0], "vip") && n == 3 && !strcmp(words[1], "show"))
		return show_vip(c, words[2]);
	if (!strcmp(words[0], "vip") && n == 3 && !strcmp(words[1], "delete"))
		return change_delete(c, words[2]);
	if (!strcmp(words[0], "drain") || !strcmp(words[0], "undrain"))
		return n == 3 ? change_drain(c, *words[0] == 'd', words[1], words[2]) :
				usage("drain needs switch, rack or smux, and a name", NULL);
	if (!strcmp(words[0], "stop") || !strcmp(words[0], "resume"))
		return n == 1 ? change_stop(c, *words[0] == 's') : usage("too many words:", words[1]);
	if (!strcmp(words[0], "abort"))
		return n == 2 ? change_abort(c, words[1]) : usage("abort needs a move's number", NULL);
	if (!strcmp(words[0], "move"))
		return n == 3 ? change_move(c, words[1], words[2]) :
				usage("move needs a VIP and smux or a switch", NULL);
	if (n > 1 || !strcmp(words[0], "vip") || !strcmp(words[0], "dip") || !strcmp(words[0], "mux") ||
	    !strcmp(words[0], "host"))
		return usage("there is no such command, or a word is missing:", words[0]);
	return usage("there is no command", words[0]);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "controller", required_argument, NULL, 'c' }, { "json", no_argument, NULL, 'j' },
		{ "wait", no_argument, NULL, 'w' },		{ "dry-run", no_argument, NULL, 'd' },
		{ "file", required_argument, NULL, 'f' },	{ "timeout", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },		{ "version", no_argument, NULL, 'V' },
		{},
	};
	const char *env = getenv("DUETCTL_URL");
	struct ctl c = { .url = env && *env ? env : "http://127.0.0.1:8470", .timeout_s = 60, .limit = 50 };
	char *end;
	int o, ret;

	while ((o = getopt_long(argc, argv, "c:jwf:n:hV", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			c.url = optarg;
			break;
		case 'j':
			c.json = true;
			break;
		case 'w':
			c.wait = true;
			break;
		case 'd':
			c.dry_run = true;
			break;
		case 'f':
			c.file = optarg;
			break;
		case 't':
		case 'n':
			*(o == 't' ? &c.timeout_s : &c.limit) = strtoul(optarg, &end, 10);
			if (*end || *optarg < '0' || *optarg > '9')
				return usage("not a number:", optarg);
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		case 'V':
			puts("duetctl " DUET_VERSION);
			return 0;
		default:
			fputs("duetctl --help says how\n", stderr);
			return 2;
		}
	}
	if (optind == argc) {
		fputs(usage_text, stderr);
		return 2;
	}
	if (strncmp(c.url, "http://", 7) && strncmp(c.url, "https://", 8))
		return usage("the controller's URL begins with http://, not", c.url);
	ret = run(&c, argc - optind, argv + optind);
	ctl_call_end();
	if (fflush(stdout)) {
		perror("duetctl: standard output");
		ret = 1;
	}
	return ret;
}
