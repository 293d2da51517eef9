// SPDX-License-Identifier: GPL-2.0
/*
 * duet-host-agent --doctor: what makes "packets arrive, no answer", each a named
 * check with its fix. Looks only; needs no agent that runs, but what an agent
 * left in the kernel tells it which VIPs and muxes there are.
 */
#include "commands.h"
#include "doctor.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define PING_MS		1000
#define TCX_INGRESS	46	/* enum bpf_attach_type of newer headers */
#define TCX_PROGRAMS	16

enum result { OK, WARN, FAIL };
static const char *const result_names[] = { "ok", "warn", "FAIL" };

struct doctor {
	const struct conf *conf;
	struct dataplane *dp;	/* NULL: nothing of ours is attached */
	json_t *list;
	bool failed;
};

__attribute__((format(printf, 5, 6)))
static void says(struct doctor *d, const char *name, enum result result, const char *fix, const char *fmt, ...)
{
	char detail[300];
	json_t *j;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(detail, sizeof(detail), fmt, ap);
	va_end(ap);
	j = json_pack("{s:s, s:s, s:s}", "name", name, "result", result == FAIL ? "fail" : result_names[result], "detail", detail);
	if (result != OK)
		json_object_set_new(j, "fix", json_string(fix));
	json_array_append_new(d->list, j);
	d->failed |= result == FAIL;
}

static int sysctl_get(const char *path)
{
	char text[160], value[16] = "";
	FILE *f;

	snprintf(text, sizeof(text), "/proc/sys/net/%s", path);
	f = fopen(text, "re");
	if (!f)
		return -1;
	if (!fgets(value, sizeof(value), f))
		value[0] = '\0';
	fclose(f);
	return value[0] ? atoi(value) : -1;
}

/* conf_value - of the interface or of all, whichever is more: so the kernel takes these */
static int conf_value(const struct doctor *d, const char *key)
{
	char path[160];
	int own, all;

	snprintf(path, sizeof(path), "ipv4/conf/%s/%s", d->conf->interface, key);
	own = sysctl_get(path);
	snprintf(path, sizeof(path), "ipv4/conf/all/%s", key);
	all = sysctl_get(path);
	return own > all ? own : all;
}

static void kernel(struct doctor *d)
{
	unsigned int major = 0, minor = 0;
	struct utsname u;

	uname(&u);
	sscanf(u.release, "%u.%u", &major, &minor);
	if (major < 6 || (major == 6 && minor < 1))
		says(d, "kernel", FAIL, "run Linux 6.1 or newer", "Linux %s", u.release);
	else
		says(d, "kernel", OK, "", "Linux %s", u.release);
	if (libbpf_probe_bpf_prog_type(BPF_PROG_TYPE_SCHED_CLS, NULL) == 1)
		says(d, "bpf", OK, "", "tc programs can be loaded");
	else
		says(d, "bpf", FAIL, "run it as root or with CAP_BPF and CAP_NET_ADMIN, on a kernel with CONFIG_BPF_SYSCALL and CONFIG_NET_CLS_BPF",
		     "tc programs can't be loaded");
	if (!access("/sys/kernel/btf/vmlinux", R_OK))
		says(d, "btf", OK, "", "the kernel describes its types");
	else
		says(d, "btf", WARN, "a kernel with CONFIG_DEBUG_INFO_BTF: without, nothing that targets open can have a VIP as source",
		     "no /sys/kernel/btf/vmlinux");
}

static void nftables(struct doctor *d)
{
	struct nft *nft;
	struct err e;

	if (nft_open(&nft, &e)) {
		says(d, "nftables", FAIL, "install nftables", "%s", e.text);
		return;
	}
	if (nft_works(nft, &e))
		says(d, "nftables", WARN, "a kernel with CONFIG_NF_TABLES_INET and CONFIG_NFT_NAT: without, delivery is \"lo\" only", "%s", e.text);
	else
		says(d, "nftables", OK, "", "tables can be listed");
	nft_close(nft);
}

static void programs(struct doctor *d)
{
	uint32_t ids[TCX_PROGRAMS], n = TCX_PROGRAMS, xdp = 0;
	unsigned int ifindex = if_nametoindex(d->conf->interface);
	int in, out, held;

	if (!ifindex) {
		says(d, "interface", FAIL, "set [host] interface to the one that muxes reach", "there is no interface %s", d->conf->interface);
		return;
	}
	says(d, "interface", OK, "", "%s", d->conf->interface);
	in = hook_get(ifindex, HOOK_INGRESS);
	out = hook_get(ifindex, HOOK_EGRESS);
	if (in >= 0 && out >= 0)
		says(d, "programs", OK, "", "%s: attached at tc ingress and egress", d->conf->interface);
	else
		says(d, "programs", FAIL, "start duet-host-agent: systemctl start duet-host-agent", "%s: the decapsulator isn't attached%s",
		     d->conf->interface, in == -EEXIST ? ", another program has its place" : "");
	held = hook_get(ifindex, HOOK_XDP);
	if (held == -EEXIST)
		says(d, "foreign-xdp", WARN, "see that it lets IP-in-IP pass: bpftool net show; then set attach = tc",
		     "%s: another XDP program sees packets first", d->conf->interface);
	else if (held < 0 && !bpf_xdp_query_id(ifindex, 0, &xdp) && xdp)
		says(d, "foreign-xdp", WARN, "see that it lets IP-in-IP pass: bpftool net show",
		     "%s: XDP program %u sees packets first", d->conf->interface, xdp);
	else
		says(d, "foreign-xdp", OK, "", "%s: none", d->conf->interface);
	/* tcx runs before clsact, whatever its programs do */
	if (!bpf_prog_query(ifindex, TCX_INGRESS, 0, NULL, ids, &n) && n)
		says(d, "foreign-tcx", WARN, "see that it answers TCX_NEXT to IP-in-IP: bpftool net show",
		     "%s: %u tcx programs run before the decapsulator", d->conf->interface, n);
	else
		says(d, "foreign-tcx", OK, "", "%s: none", d->conf->interface);
	n = hook_foreign(ifindex);
	if (n)
		says(d, "foreign-tc", WARN, "see that they let IP-in-IP pass: tc filter show dev IF ingress",
		     "%s: %u other tc filters at ingress", d->conf->interface, n);
	else
		says(d, "foreign-tc", OK, "", "%s: none", d->conf->interface);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	if (held >= 0)
		close(held);
}

static void sysctls(struct doctor *d)
{
	char fix[200];
	int v = conf_value(d, "rp_filter");

	snprintf(fix, sizeof(fix), "sysctl -w net.ipv4.conf.%s.rp_filter=2 (or manage_sysctl = yes)", d->conf->interface);
	if (v == 1)
		says(d, "rp-filter", FAIL, fix, "strict: packets of clients that aren't routed back by %s are dropped", d->conf->interface);
	else
		says(d, "rp-filter", OK, "", "%s", v == 2 ? "loose" : "off");
	snprintf(fix, sizeof(fix), "sysctl -w net.ipv4.conf.%s.arp_ignore=1 net.ipv4.conf.%s.arp_announce=2 (or manage_sysctl = yes)",
		 d->conf->interface, d->conf->interface);
	if (conf_value(d, "arp_ignore") < 1)
		says(d, "arp-ignore", FAIL, fix, "this host answers ARP requests for VIPs on lo: it draws their traffic past the muxes");
	else
		says(d, "arp-ignore", OK, "", "VIPs on lo aren't answered for");
	if (conf_value(d, "arp_announce") < 2)
		says(d, "arp-announce", FAIL, fix, "ARP requests of this host may name a VIP as sender: neighbours learn it");
	else
		says(d, "arp-announce", OK, "", "VIPs are never the sender of an ARP request");
}

static void vips(struct doctor *d)
{
	struct decap_key *keys = NULL;
	bool behind4 = false, behind6 = false;
	unsigned int n = 0, i, missing = 0;
	struct decap_served value;
	char text[ADDR_STRLEN];

	dp_served_get(d->dp, &keys, &n);
	for (i = 0; i < n; i++) {
		struct addr vip = to_addr(&keys[i].vip), dip = to_addr(&keys[i].dip);

		if (!host_has(&vip)) {
			missing++;
			says(d, "vip-address", FAIL, "restart duet-host-agent: it puts VIPs on lo", "VIP %s is on no interface: its packets are forwarded or dropped",
			     addr_str(&vip, text));
		}
		if (!host_has(&dip)) {
			missing++;
			says(d, "dip-address", FAIL, "give the host that address, or tell the controller of the new one",
			     "DIP %s is no address of this host", addr_str(&dip, text));
		}
		if (!dp_served_find(d->dp, &keys[i], &value) && value.delivery != DELIVER_LO)
			*(addr_is_v4(&vip) ? &behind4 : &behind6) = true;
	}
	free(keys);
	if (!n)
		says(d, "vip-address", WARN, "see that the controller reaches this agent: duetctl host show", "no VIP is served here");
	else if (!missing)
		says(d, "vip-address", OK, "", "%u VIPs on this host", n);
	if ((behind4 && sysctl_get("ipv4/ip_forward") != 1) || (behind6 && sysctl_get("ipv6/conf/all/forwarding") != 1))
		says(d, "forwarding", FAIL, "sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1", "packets to targets behind this host aren't forwarded");
	else
		says(d, "forwarding", OK, "", "%s", behind4 || behind6 ? "on" : "not needed");
}

static uint16_t sum16(const uint8_t *p, size_t len)
{
	uint32_t sum = 0;

	for (; len > 1; len -= 2, p += 2)
		sum += (uint32_t)p[0] << 8 | p[1];
	sum = (sum >> 16) + (sum & 0xffff);
	return htons((uint16_t)~(sum + (sum >> 16)));
}

/* ping - an echo of @mtu bytes, not to be fragmented, there and back: 0; -errno */
static int ping(const struct addr *to, const struct addr *from, unsigned int mtu)
{
	struct sockaddr_in at = { .sin_family = AF_INET }, own = { .sin_family = AF_INET };
	size_t len = (mtu - sizeof(struct iphdr)) & ~1u, raw;
	uint8_t *packet = calloc(1, 65536);
	struct icmphdr *icmp = (void *)packet;
	int fd, probe = IP_PMTUDISC_PROBE, ret = -ETIMEDOUT, left = PING_MS;
	struct pollfd p;

	memcpy(&at.sin_addr, addr_raw(to, &raw), 4);
	memcpy(&own.sin_addr, addr_raw(from, &raw), 4);
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);
	if (fd < 0 || !packet) {
		free(packet);
		return -errno;
	}
	setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &probe, sizeof(probe));
	icmp->type = ICMP_ECHO;
	icmp->un.echo.id = htons(getpid() & 0xffff);
	icmp->checksum = sum16(packet, len);
	if (bind(fd, (void *)&own, sizeof(own)) || connect(fd, (void *)&at, sizeof(at)) || send(fd, packet, len, 0) < 0)
		ret = -errno;
	for (p = (struct pollfd){ .fd = fd, .events = POLLIN }; ret == -ETIMEDOUT && left > 0 && poll(&p, 1, left) > 0; left -= 50) {
		ssize_t n = recv(fd, packet, 65536, 0);
		const struct icmphdr *r = (void *)(packet + (packet[0] & 15) * 4);

		if (n >= 28 && r->type == ICMP_ECHOREPLY && r->un.echo.id == htons(getpid() & 0xffff))
			ret = 0;
	}
	close(fd);
	free(packet);
	return ret;
}

static void mtu(struct doctor *d)
{
	unsigned int n = 0, i, size = d->conf->mtu ?: (unsigned int)dp_mtu(d->dp);
	struct prefix *muxes = NULL;
	char text[ADDR_STRLEN];

	dp_muxes_get(d->dp, &muxes, &n);
	for (i = 0; i < n; i++) {
		int ret, small;

		if (!addr_is_v4(&muxes[i].addr) || muxes[i].len != 32 || !addr_is_v4(&d->conf->address))
			continue;
		addr_str(&muxes[i].addr, text);
		ret = ping(&muxes[i].addr, &d->conf->address, size);
		small = ret ? ping(&muxes[i].addr, &d->conf->address, 576) : 0;
		if (!ret)
			says(d, "mtu", OK, "", "%u bytes go to mux %s and back whole: tunnels carry packets of %u", size, text, size - 20);
		else if (!small)
			says(d, "mtu", FAIL, "raise the MTU of the path, or set [host] mtu to what it carries: MSS is clamped by it",
			     "packets of %u bytes don't go to mux %s and back, small ones do: %s", size, text, strerror(-ret));
		else
			says(d, "mtu", WARN, "see that the mux is up and there is a route", "mux %s doesn't answer: %s", text, strerror(-small));
	}
	if (!n)
		says(d, "muxes", WARN, "see that the controller reaches this agent", "no muxes are known: nothing is decapsulated");
	free(muxes);
}

/* commands - which files of the folder of checks can be run */
static void commands(struct doctor *d)
{
	char path[PATH_MAX];
	unsigned int good = 0, bad = 0;
	struct dirent *entry;
	struct err e;
	DIR *dir;

	if (!d->conf->check_dir) {
		says(d, "commands", OK, "", "checks by command are off: [checks] command-dir is not set");
		return;
	}
	dir = opendir(d->conf->check_dir);
	if (!dir || commands_folder(d->conf->check_dir, &e)) {
		says(d, "commands", FAIL, "make [checks] command-dir a folder that root alone can change, and all above it",
		     "no command is run as a check: %s", dir ? e.text : strerror(errno));
		if (dir)
			closedir(dir);
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (!commands_file(d->conf->check_dir, entry->d_name, path, &e)) {
			good++;
			continue;
		}
		bad++;
		says(d, "commands", WARN, "make it a regular file of root, executable, written by nobody else, with a plain name", "%s", e.text);
	}
	closedir(dir);
	if (!bad)
		says(d, "commands", OK, "", "%u in %s, run as user %s", good, d->conf->check_dir, d->conf->check_user);
}

int doctor(const struct conf *conf, bool json)
{
	struct doctor d = { .conf = conf, .list = json_array() };
	struct err e;
	json_t *j;
	size_t i;

	kernel(&d);
	nftables(&d);
	programs(&d);
	sysctls(&d);
	commands(&d);
	if (!dp_look(conf->interface, &d.dp, &e)) {
		vips(&d);
		mtu(&d);
		dp_close(d.dp);
	}
	if (json) {
		json_dumpf(d.list, stdout, JSON_INDENT(1));
		putchar('\n');
	} else {
		json_array_foreach(d.list, i, j) {
			const char *result = json_string_value(json_object_get(j, "result"));
			const char *fix = json_string_value(json_object_get(j, "fix"));

			printf("%-5s%-13s %s\n", !strcmp(result, "fail") ? "FAIL" : result, json_string_value(json_object_get(j, "name")),
			       json_string_value(json_object_get(j, "detail")));
			if (fix)
				printf("     fix: %s\n", fix);
		}
	}
	json_decref(d.list);
	return d.failed;
}
