// SPDX-License-Identifier: GPL-2.0
/* Raw sockets of the probes: packets made by hand, and answers read back. */
#include "probe_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IP_LEN		20
#define ICMP_LEN	8
#define TTL		64
#define WINDOW		1024
#define PACKET_MAX	(2 * IP_LEN + sizeof(struct tcphdr))
#define READ_MAX	256	/* bytes of an answer that are looked at */

#define ICMP_FILTER_OPT	1	/* ICMP_FILTER of linux/icmp.h, at level SOL_RAW */

static uint32_t sum(const void *data, unsigned int len, uint32_t add)
{
	const uint8_t *p = data;
	unsigned int i;

	for (i = 0; i + 1 < len; i += 2)
		add += p[i] << 8 | p[i + 1];
	return i < len ? add + (p[i] << 8) : add;
}

static uint16_t checksum(uint32_t total)
{
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return htons(~total);
}

static void put_ip(uint8_t *at, uint32_t src, uint32_t dst, uint8_t proto, uint8_t tos, unsigned int len)
{
	struct iphdr ip = { .version = 4, .ihl = 5, .tos = tos, .tot_len = htons(len), .ttl = TTL, .protocol = proto,
			    .saddr = src, .daddr = dst };

	ip.check = checksum(sum(&ip, sizeof(ip), 0));
	memcpy(at, &ip, sizeof(ip));
}

/* put_tcp - a SYN, or the RST that ends what it has begun */
static unsigned int put_tcp(uint8_t *at, const struct probe_wire *w, const struct probe_flow *f, bool rst)
{
	struct tcphdr tcp = { .source = htons(f->sport), .dest = htons(f->dport), .seq = htonl(f->tcp_seq + rst),
			      .doff = sizeof(tcp) / 4, .syn = !rst, .rst = rst, .window = htons(rst ? 0 : WINDOW) };
	uint32_t ends[2] = { w->local, f->vip };

	tcp.check = checksum(sum(&tcp, sizeof(tcp), sum(ends, sizeof(ends), IPPROTO_TCP + sizeof(tcp))));
	memcpy(at, &tcp, sizeof(tcp));
	return sizeof(tcp);
}

static unsigned int put_echo(uint8_t *at, const struct probe_flow *f)
{
	struct icmphdr icmp = { .type = ICMP_ECHO, .un.echo = { .id = htons(f->sport), .sequence = htons(f->seq) } };

	icmp.checksum = checksum(sum(&icmp, sizeof(icmp), 0));
	memcpy(at, &icmp, sizeof(icmp));
	return sizeof(icmp);
}

static int send_packet(const struct probe_wire *w, const struct probe_flow *f, bool rst)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = f->dip };
	unsigned int outer = f->vip ? IP_LEN : 0, len;
	uint8_t packet[PACKET_MAX];

	len = f->tcp ? put_tcp(packet + outer + IP_LEN, w, f, rst) : put_echo(packet + outer + IP_LEN, f);
	put_ip(packet + outer, w->local, f->vip ?: f->dip, f->tcp ? IPPROTO_TCP : IPPROTO_ICMP, 0, IP_LEN + len);
	if (outer)
		put_ip(packet, w->local, f->dip, IPPROTO_IPIP, w->tos, 2 * IP_LEN + len);
	len += outer + IP_LEN;
	return sendto(w->send, packet, len, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : 0;
}

int probe_wire_send(const struct probe_wire *w, const struct probe_flow *f)
{
	return send_packet(w, f, false);
}

void probe_wire_reset(const struct probe_wire *w, const struct probe_flow *f)
{
	send_packet(w, f, true);
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint32_t get_address(const uint8_t *p)
{
	uint32_t a;

	memcpy(&a, p, sizeof(a));
	return a;
}

static bool ours(uint16_t port)
{
	return port >= PROBE_PORT_MIN && port < PROBE_PORT_MIN + PROBE_PORTS;
}

/* header - length of the IPv4 header at p, 0: there is none, or less than 8 bytes behind it */
static unsigned int header(const uint8_t *p, unsigned int len)
{
	unsigned int size = len >= IP_LEN && p[0] >> 4 == 4 ? (p[0] & 15) * 4 : 0;

	return size >= IP_LEN && len >= size + 8 ? size : 0;
}

static bool parse_tcp(const uint8_t *p, unsigned int len, struct probe_heard *heard)
{
	uint8_t flags;

	if (len < sizeof(struct tcphdr) || !ours(get16(p + 2)))
		return false;
	flags = p[13];
	if (!(flags & TH_ACK) || !(flags & (TH_SYN | TH_RST)))
		return false;
	heard->answer = flags & TH_RST ? PROBE_RST : PROBE_SYN_ACK;
	heard->dport = get16(p);
	heard->sport = get16(p + 2);
	heard->ack = get32(p + 8);
	return true;
}

/* parse_quoted - an ICMP error shows the packet that it is about: ours in its tunnel, or as the host has unpacked it */
static bool parse_quoted(const uint8_t *p, unsigned int len, struct probe_heard *heard)
{
	unsigned int size = header(p, len);
	const uint8_t *l4 = p + size;

	if (!size)
		return false;
	heard->answer = PROBE_UNREACHABLE;
	heard->from = get_address(p + 16);
	heard->sport = heard->dport = 0;
	if (p[9] == IPPROTO_IPIP)
		return true;
	heard->sport = get16(p[9] == IPPROTO_TCP ? l4 : l4 + 4);
	return (p[9] == IPPROTO_TCP || (p[9] == IPPROTO_ICMP && l4[0] == ICMP_ECHO)) && ours(heard->sport);
}

bool probe_wire_parse(const uint8_t *p, unsigned int len, struct probe_heard *heard)
{
	unsigned int size = header(p, len);
	const uint8_t *l4 = p + size;

	if (!size)
		return false;
	*heard = (struct probe_heard){ .from = get_address(p + 12) };
	len -= size;
	if (p[9] == IPPROTO_TCP)
		return parse_tcp(l4, len, heard);
	if (p[9] != IPPROTO_ICMP)
		return false;
	if (l4[0] == ICMP_DEST_UNREACH)
		return parse_quoted(l4 + ICMP_LEN, len - ICMP_LEN, heard);
	heard->answer = PROBE_ECHO;
	heard->sport = get16(l4 + 4);
	return l4[0] == ICMP_ECHOREPLY && ours(heard->sport);
}

bool probe_wire_read(int fd, struct probe_heard *heard)
{
	uint8_t packet[READ_MAX];
	ssize_t len;

	while ((len = recv(fd, packet, sizeof(packet), 0)) >= 0 || errno == EINTR)
		if (len > 0 && probe_wire_parse(packet, len, heard))
			return true;
	return false;
}

/* filter_ports - of all TCP of this machine only what comes to the ports of probes wakes the agent */
static int filter_ports(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, PROBE_PORT_MIN, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, PROBE_PORT_MIN + PROBE_PORTS, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, READ_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

static int filter_icmp(int fd)
{
	uint32_t dropped = ~(1u << ICMP_ECHOREPLY | 1u << ICMP_DEST_UNREACH);

	return setsockopt(fd, SOL_RAW, ICMP_FILTER_OPT, &dropped, sizeof(dropped)) ? -errno : 0;
}

static int open_raw(int proto, int (*filter)(int fd), int *out)
{
	int fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, proto), ret;

	if (fd < 0)
		return -errno;
	ret = filter ? filter(fd) : 0;
	if (ret)
		close(fd);
	else
		*out = fd;
	return ret;
}

/* leave_by - probes leave as tunnels do */
static int leave_by(int fd, const struct config *config)
{
	unsigned int mark = config->fwmark;

	if (mark && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		return -errno;
	if (config->link && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, config->link, strlen(config->link) + 1))
		return -errno;
	return 0;
}

int probe_wire_open(struct probe_wire *w, const struct config *config, struct err *e)
{
	int ret;

	*w = (struct probe_wire){ -1, -1, -1, .tos = config->tos == DUET_TOS_INHERIT ? 0 : config->tos };
	memcpy(&w->local, config->local.b + 12, sizeof(w->local));
	ret = open_raw(IPPROTO_RAW, NULL, &w->send);
	if (!ret)
		ret = leave_by(w->send, config);
	if (!ret)
		ret = open_raw(IPPROTO_TCP, filter_ports, &w->tcp);
	if (!ret)
		ret = open_raw(IPPROTO_ICMP, filter_icmp, &w->icmp);
	if (!ret)
		return 0;
	probe_wire_close(w);
	return err_set(e, ret, "no raw sockets: %s%s", strerror(-ret), ret == -EPERM ? " (the agent lacks CAP_NET_RAW)" : "");
}

void probe_wire_close(struct probe_wire *w)
{
	int *const fds[] = { &w->send, &w->tcp, &w->icmp };

	for (unsigned int i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		if (*fds[i] >= 0)
			close(*fds[i]);
		*fds[i] = -1;
	}
}
