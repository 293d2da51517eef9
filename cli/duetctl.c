// SPDX-License-Identifier: GPL-2.0
/* duetctl: the controller from the command line. Options and commands. */
#include "duetctl.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon.h"
#include "key.h"

static const char usage_text[] =
	"usage: duetctl [-c URL] [-j] COMMAND\n"
	"\n"
	"  status [--verbose]          show overall health and current faults; with --verbose also what to do\n"
	"  explain [CODE]              what a fault means and what to do; without CODE all faults. Needs no controller\n"
	"  vip list | vip show VIP     VIPs, where they live, their DIPs\n"
	"  vip delete VIP [--wait]     withdraw it, then remove it\n"
	"  dip list [VIP]              DIPs and their states\n"
	"  dip drain VIP DIP | dip undrain VIP DIP   no new connections for a DIP, and back (--force, --wait)\n"
	"  dip down VIP DIP | dip up VIP DIP         take a DIP out at once, and back\n"
	"  dip weight VIP DIP N        another weight, in the VIP's definition\n"
	"  dip release VIP DIP         ends the damping of a DIP that came and went\n"
	"  switch list | link list     the fabric, and how full its tables are\n"
	"  mux list | mux show MUX     the mux agents\n"
	"  host list | host show HOST  the host agents\n"
	"  host drain HOST | host undrain HOST   no new connections for its DIPs, in all VIPs (--force, --wait)\n"
	"  mux unfence MUX | host unfence HOST   it forgets which controller it obeyed, and obeys this\n"
	"  traffic                     what each VIP receives\n"
	"  snat show                   ports of connections that hosts open as a VIP\n"
	"  topology                    switches and links as in topology.dot\n"
	"  assignment                  which switch serves which VIP, and why\n"
	"  plan                        what an assignment computed now would be\n"
	"  assign [--dry-run] [--wait] compute it anew and move what should move\n"
	"  whatif WHAT...              switch NAME, smux NAME, vip VIP MBPS|xFACTOR|gone: what\n"
	"                              would the plan be if all of this came to pass\n"
	"  probe VIP [MUX]             does each DIP answer each mux that carries it, now\n"
	"  trace SRC[:PORT] VIP[:PORT] [PROTOCOL]   the way of a flow: fabric, mux, DIP, host\n"
	"  export                      the configuration, as apply takes it\n"
	"  diff -f FILE                what apply would change (- is standard input)\n"
	"  apply -f FILE [--dry-run] [--wait]   make the configuration what FILE says\n"
	"  move VIP smux|SWITCH [--wait]\n"
	"  moves [MOVE] [-n N]         moves (migrations) over and under way\n"
	"  abort MOVE | abort wave N   it goes back to where it came from\n"
	"  drain | undrain switch|rack|smux NAME\n"
	"  drains                      what is out for maintenance\n"
	"  stop | resume               all moves, everywhere\n"
	"  settings [NAME=VALUE...]    how many moves at once, assignments by themselves, ...\n"
	"  events [-n N] [--watch]     the last events; with --watch those to come too\n"
	"  audit [-n N]                who changed what\n"
	"  token list | token add NAME agent|read|operate|admin [DAYS]\n"
	"  token delete NAME\n"
	"  backup NAME                 a copy of the store beside it\n"
	"  key show                    the keys of the hash (fingerprints), and their rotation\n"
	"  key rotate [--wait]         a new key for the old one, VIP by VIP; --abort turns back\n"
	"  genkey                      print a new key of the hash, for key-file; asks no controller\n"
	"\n"
	"  -c, --controller URL        http://, https:// or unix:/PATH.sock; default $DUETCTL_URL, else\n"
	"                              /etc/duet/duetctl.conf, else http://127.0.0.1:8470\n"
	"  --tls-cert, --tls-key, --tls-ca, --tls-crl FILE   for https; --token-file FILE where there are tokens\n"
	"      --force                 also the last DIP of a VIP\n"
	"  -j, --json                  what the controller says, as it is\n"
	"  -w, --wait, --watch         until the moves that follow are over (--timeout SECONDS, 60)\n"
	"  -h, --help                  -V, --version\n"
	"\n"
	"exit code: 0 done, 1 refused or failed (diff: there are differences), 2 wrong usage,\n"
	"3 the controller can't be reached\n"
	"of status: 0 all is well, 1 there are warnings, 2 there are faults, 3 the controller can't be reached,\n"
	"4 it refused, 5 wrong usage\n";

static int genkey(const struct ctl *c, int n, char **args)
{
	char text[KEY_TEXT];
	struct secret key;
	struct stat st;

	if (key_make(&key)) {
		fprintf(stderr, "duetctl: no random numbers for a key\n");
		return CTL_REFUSED;
	}
	if (!fstat(STDOUT_FILENO, &st) && S_ISREG(st.st_mode) && st.st_mode & 077)
		fprintf(stderr, "duetctl: warning: the file is open to others, and the controller refuses such a key-file; run umask 077 first\n");
	puts(key_text(&key, text));
	return CTL_OK;
}

/* Words that name it, how many may follow, and what they are. Longer names first. */
static const struct command {
	const char *first, *second;
	int (*run)(const struct ctl *c, int n, char **args);
	int min, max;
	const char *args;
} commands[] = {
	{ "status", NULL, show_status },
	{ "explain", NULL, show_explain, 0, 1, "a code of duetctl status" },
	{ "vip", "list", show_vips },
	{ "vip", "show", show_vip, 1, 1, "a VIP" },
	{ "vip", "delete", change_delete, 1, 1, "a VIP" },
	{ "dip", "list", show_dips, 0, 1, "a VIP" },
	{ "dip", "release", change_dip_release, 2, 2, "a VIP and one of its DIPs" },
	{ "dip", "drain", change_dip_drain, 2, 2, "a VIP and one of its DIPs" },
	{ "dip", "undrain", change_dip_up, 2, 2, "a VIP and one of its DIPs" },
	{ "dip", "down", change_dip_down, 2, 2, "a VIP and one of its DIPs" },
	{ "dip", "up", change_dip_up, 2, 2, "a VIP and one of its DIPs" },
	{ "dip", "weight", change_dip_weight, 3, 3, "a VIP, one of its DIPs and a weight" },
	{ "switch", "list", show_switches },
	{ "link", "list", show_links },
	{ "mux", "list", show_muxes },
	{ "mux", "show", show_mux, 1, 1, "a mux" },
	{ "mux", "unfence", change_unfence_mux, 1, 1, "a mux" },
	{ "host", "list", show_hosts },
	{ "host", "show", show_host, 1, 1, "a host" },
	{ "host", "unfence", change_unfence_host, 1, 1, "a host" },
	{ "host", "drain", change_host_drain, 1, 1, "a host" },
	{ "host", "undrain", change_host_undrain, 1, 1, "a host" },
	{ "traffic", NULL, show_traffic },
	{ "snat", "show", show_snat },
	{ "topology", NULL, show_topology },
	{ "assignment", NULL, show_assignment },
	{ "plan", NULL, change_plan },
	{ "assign", NULL, change_assign },
	{ "whatif", NULL, show_whatif, 1, 64, "switch NAME, smux NAME, or vip VIP and Mbps, xFACTOR or gone" },
	{ "probe", NULL, show_probe, 1, 2, "a VIP, and perhaps a mux" },
	{ "trace", NULL, show_trace, 2, 3, "a source, a VIP, and perhaps a protocol" },
	{ "export", NULL, config_export },
	{ "diff", NULL, config_diff },
	{ "apply", NULL, config_apply },
	{ "move", NULL, change_move, 2, 2, "a VIP and smux or a switch" },
	{ "moves", NULL, show_moves },
	{ "moves", NULL, show_move, 1, 1, "the number of one" },
	{ "migrations", NULL, show_moves },
	{ "abort", "wave", change_abort, 1, 1, "a wave's number" },
	{ "abort", NULL, change_abort, 1, 1, "a move's number" },
	{ "drain", NULL, change_drain, 2, 2, "switch, rack or smux, and a name" },
	{ "undrain", NULL, change_undrain, 2, 2, "switch, rack or smux, and a name" },
	{ "drains", NULL, show_drains },
	{ "stop", NULL, change_stop },
	{ "resume", NULL, change_resume },
	{ "settings", NULL, change_settings, 0, 16, "NAME=VALUE" },
	{ "events", NULL, show_events },
	{ "audit", NULL, show_audit },
	{ "token", "list", token_list },
	{ "token", "add", token_add, 2, 3, "a name, agent, read, operate or admin, and perhaps after how many days it expires" },
	{ "token", "delete", token_delete, 1, 1, "a token's name" },
	{ "backup", NULL, change_backup, 1, 1, "a file's name" },
	{ "key", "show", show_key },
	{ "key", "rotate", change_key },
	{ "genkey", NULL, genkey },
};
#define N_COMMANDS (sizeof(commands) / sizeof(*commands))

/* Of status the exit code says how things are: what keeps it from asking has codes of its own. */
static bool is_status;

static int failure(int code)
{
	return !is_status ? code : code == CTL_USAGE ? CTL_STATUS_USAGE : code == CTL_REFUSED ? CTL_STATUS_REFUSED : code;
}

static int usage(const char *problem, const char *what)
{
	fprintf(stderr, "duetctl: %s%s%s\nduetctl --help says how\n", problem, what ? " " : "",
		what ? what : "");
	return failure(CTL_USAGE);
}

/* run - words are the command; n is their number */
static int run(const struct ctl *c, int n, char **words)
{
	const struct command *near = NULL;
	char problem[160];
	unsigned int i;

	for (i = 0; i < N_COMMANDS; i++) {
		const struct command *k = &commands[i];
		int named = k->second ? 2 : 1, args = n - named;

		if (strcmp(words[0], k->first))
			continue;
		near = near && !k->second ? near : k;
		if (k->second && (n < 2 || strcmp(words[1], k->second)))
			continue;
		near = k;
		if (args < k->min || args > k->max)
			continue;
		if ((k->run == config_apply || k->run == config_diff) && !c->file)
			return usage(k->first, "needs -f FILE");
		return k->run(c, args, words + named);
	}
	if (!near)
		return usage("there is no command", words[0]);
	if (near->second && (n < 2 || strcmp(words[1], near->second)))
		return usage("there is no such command, or a word is missing:", words[0]);
	if (!near->max)
		return usage("too many words:", words[near->second ? 2 : 1]);
	snprintf(problem, sizeof(problem), "%s%s%s needs", near->first, near->second ? " " : "", near->second ? near->second : "");
	return usage(problem, near->args);
}

enum { OPT_CERT = 256, OPT_KEY, OPT_CA, OPT_TOKEN, OPT_CRL, OPT_ABORT, OPT_FORCE, OPT_VERBOSE };

/* options - 0, or the exit code + 1 */
static int read_options(int argc, char **argv, struct ctl *c, struct ctl_conf *given)
{
	static const struct option options[] = {
		{ "controller", required_argument, NULL, 'c' }, { "json", no_argument, NULL, 'j' },
		{ "wait", no_argument, NULL, 'w' },		{ "watch", no_argument, NULL, 'w' },
		{ "dry-run", no_argument, NULL, 'd' },		{ "abort", no_argument, NULL, OPT_ABORT },
		{ "force", no_argument, NULL, OPT_FORCE },	{ "file", required_argument, NULL, 'f' },
		{ "verbose", no_argument, NULL, OPT_VERBOSE },
		{ "timeout", required_argument, NULL, 't' },	{ "tls-cert", required_argument, NULL, OPT_CERT },
		{ "tls-key", required_argument, NULL, OPT_KEY }, { "tls-ca", required_argument, NULL, OPT_CA },
		{ "token-file", required_argument, NULL, OPT_TOKEN }, { "tls-crl", required_argument, NULL, OPT_CRL },
		{ "help", no_argument, NULL, 'h' },		{ "version", no_argument, NULL, 'V' },
		{},
	};
	char *end;
	int o;

	while ((o = getopt_long(argc, argv, "c:jwf:n:hV", options, NULL)) != -1) {
		switch (o) {
		case 'c':
			given->url = optarg;
			break;
		case OPT_CERT:
			given->cert = optarg;
			break;
		case OPT_KEY:
			given->key = optarg;
			break;
		case OPT_CA:
			given->ca = optarg;
			break;
		case OPT_CRL:
			given->crl = optarg;
			break;
		case OPT_TOKEN:
			given->token_file = optarg;
			break;
		case OPT_ABORT:
			c->abort = true;
			break;
		case OPT_FORCE:
			c->force = true;
			break;
		case OPT_VERBOSE:
			c->verbose = true;
			break;
		case 'j':
			c->json = true;
			break;
		case 'w':
			c->wait = true;
			break;
		case 'd':
			c->dry_run = true;
			break;
		case 'f':
			c->file = optarg;
			break;
		case 't':
		case 'n':
			*(o == 't' ? &c->timeout_s : &c->limit) = strtoul(optarg, &end, 10);
			if (*end || *optarg < '0' || *optarg > '9')
				return usage("not a number:", optarg) + 1;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return CTL_OK + 1;
		case 'V':
			puts("duetctl " DUET_VERSION);
			return CTL_OK + 1;
		default:
			fputs("duetctl --help says how\n", stderr);
			return failure(CTL_USAGE) + 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct ctl c = { .timeout_s = 60, .limit = 50 };
	struct ctl_conf given = {};
	int i, ret;

	for (i = 1; i < argc && !is_status; i++)	/* before the options, which may be wrong */
		is_status = !strcmp(argv[i], "status");
	ret = read_options(argc, argv, &c, &given);
	if (ret)
		return ret - 1;
	is_status = optind < argc && !strcmp(argv[optind], "status");
	if (optind == argc) {
		fputs(usage_text, stderr);
		return CTL_USAGE;
	}
	ret = !strcmp(argv[optind], "explain") ? 0 : failure(ctl_conf(&c, &given));
	if (!ret)
		ret = run(&c, argc - optind, argv + optind);
	ctl_call_end();
	ctl_conf_end();
	if (fflush(stdout)) {
		perror("duetctl: standard output");
		ret = failure(CTL_REFUSED);
	}
	return ret;
}
