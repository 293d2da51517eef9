// SPDX-License-Identifier: GPL-2.0
/*
 * duet-probe - what a client of VIPs sees. Long TCP connections that send a
 * line every few milliseconds and expect it back, and pings (ICMP echo or UDP) at a
 * short interval; it keeps, per connection and per ping stream, what was lost,
 * for how long nothing came, and what was reset. Starts, says {"ready": true}
 * when everything answers, stops on SIGTERM or SIGINT or after --seconds, waits
 * for answers still on their way, prints one line of JSON. Floods (flood.c) are
 * load beside them, to which nobody answers.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <linux/icmp.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNS	4096
/* what is under way may come: pings, and lines that TCP sends again after twice the time each time */
#define DRAIN_NS	(3 * 1000000000ull)
#define DRAIN_TCP_NS	(25 * 1000000000ull)
#define MAGIC		0x64756574

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

void die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fputs("duet-probe: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
	va_end(ap);
	exit(1);
}

static void usage(FILE *f)
{
	fputs("usage: duet-probe [option ...]           be a client\n"
	      "       duet-probe --echo PORT [--name N]  be the server of such clients\n"
	      "  --tcp ADDR:PORT*N    N long TCP connections\n"
	      "  --icmp ADDR          a stream of ICMP echo requests\n"
	      "  --udp ADDR:PORT      a stream of UDP datagrams\n"
	      "  --flood ADDR:PORT*N  N datagrams a second that nobody answers (echo servers take them on port 9)\n"
	      "  --ping-ms MS         between pings of a stream, default 3\n"
	      "  --line-ms MS         between lines of a connection, default 10\n"
	      "  --trace FILE         every ping as CSV, when it ends\n"
	      "  --seconds S          stop after S seconds (default: on SIGTERM or SIGINT)\n", f);
}

/* ---- setting up */

static void watch(struct probe *p, int fd, void *who)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = who };

	if (epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &ev))
		die("epoll: %s", strerror(errno));
}

/* target - "203.0.113.1:7*20"; the port and the count may be absent */
static void target(const char *s, struct in_addr *addr, uint16_t *port, unsigned int *count)
{
	char text[64], *colon, *star;

	snprintf(text, sizeof(text), "%s", s);
	star = strchr(text, '*');
	if (star)
		*star++ = 0;
	colon = strchr(text, ':');
	if (colon)
		*colon++ = 0;
	*count = star ? strtoul(star, NULL, 10) : 1;
	*port = colon ? strtoul(colon, NULL, 10) : 0;
	if (inet_pton(AF_INET, text, addr) != 1 || !*count)
		die("'%s' is no ADDR[:PORT[*N]]", s);
}

static void add_conns(struct probe *p, const char *s)
{
	struct in_addr vip;
	unsigned int n;
	uint16_t port;

	target(s, &vip, &port, &n);
	if (!port || p->n_conns + n > MAX_CONNS)
		die("--tcp %s: a port, and at most %u connections in all, are needed", s, MAX_CONNS);
	p->conns = realloc(p->conns, (p->n_conns + n) * sizeof(*p->conns));
	if (!p->conns)
		die("out of memory");
	while (n--)
		p->conns[p->n_conns++] = (struct conn){ .vip = vip, .port = port, .fd = -1 };
}

static void add_stream(struct probe *p, const char *s, bool icmp)
{
	struct stream *t = &p->streams[p->n_streams];
	unsigned int n;

	if (p->n_streams == MAX_STREAMS)
		die("more than %u ping streams", MAX_STREAMS);
	memset(t, 0, sizeof(*t));
	target(s, &t->vip, &t->port, &n);
	if (icmp != !t->port)
		die("%s %s: %s", icmp ? "--icmp" : "--udp", s, icmp ? "no port, please" : "needs a port");
	p->n_streams++;
}

static void add_flood(struct probe *p, const char *s)
{
	struct in_addr vip;
	unsigned int pps;
	uint16_t port;

	target(s, &vip, &port, &pps);
	if (!port || p->n_floods == MAX_FLOODS)
		die("--flood %s: a port, and at most %u of them, are needed", s, MAX_FLOODS);
	p->floods[p->n_floods++] = flood_new(vip, port, pps);
}

static void conn_start(struct probe *p, struct conn *c)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = c->vip, .sin_port = htons(c->port) };
	socklen_t len = sizeof(sin);
	int one = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(c->fd, (struct sockaddr *)&sin, sizeof(sin)) && errno != EINPROGRESS)
		die("connect: %s", strerror(errno));
	if (!getsockname(c->fd, (struct sockaddr *)&sin, &len))
		c->own_port = ntohs(sin.sin_port);
	watch(p, c->fd, c);
}

static void stream_start(struct probe *p, struct stream *t)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = t->vip, .sin_port = htons(t->port) };
	struct icmp_filter only_replies = { .data = ~(1u << ICMP_ECHOREPLY) };

	if (t->port)
		t->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	else
		t->fd = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
	if (t->fd < 0)
		die("socket: %s", strerror(errno));
	if (!t->port)
		setsockopt(t->fd, SOL_RAW, ICMP_FILTER, &only_replies, sizeof(only_replies));
	if (connect(t->fd, (struct sockaddr *)&sin, sizeof(sin)))
		die("connect: %s", strerror(errno));
	watch(p, t->fd, t);
}

static int timer(struct probe *p, unsigned int us, void *who)
{
	struct itimerspec every = { { us / 1000000, us % 1000000 * 1000 }, { us / 1000000, us % 1000000 * 1000 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &every, NULL))
		die("timer: %s", strerror(errno));
	watch(p, fd, who);
	return fd;
}

/* ---- long connections */

static void gap(uint64_t *last, uint64_t *max, uint64_t *at, uint64_t now)
{
	if (*last && now - *last > *max) {
		*max = now - *last;
		*at = *last;
	}
	*last = now;
}

static void conn_end(struct conn *c, int error)
{
	c->ended = true;
	c->error = error;
	c->ended_at = now_ns();
	close(c->fd);
	c->fd = -1;
}

static void conn_read(struct conn *c)
{
	char buf[4096];
	ssize_t n, i = 0;

	n = recv(c->fd, buf, sizeof(buf), 0);
	if (n < 0 && errno == EAGAIN) {
		/* an ICMP error while it connects waits in the error queue, and wakes us until it is fetched */
		while (recv(c->fd, buf, sizeof(buf), MSG_ERRQUEUE) >= 0)
			;
		return;
	}
	if (n <= 0) {
		conn_end(c, n ? errno : 0);
		return;
	}
	while (i < n && !c->greeted) {
		char ch = buf[i++];

		if (ch == '\n')
			c->greeted = true;
		else if (c->n_server < sizeof(c->server) - 1)
			c->server[c->n_server++] = ch;
	}
	c->partial += n - i;
	c->echoed += c->partial / PROBE_LINE;
	c->partial %= PROBE_LINE;
	gap(&c->last, &c->max_gap, &c->max_gap_at, now_ns());
}

/* lines_send - the next n connections' turn: one after the other, not all in a burst */
static void lines_send(struct probe *p, uint64_t n)
{
	char line[PROBE_LINE + 1];

	for (n = n < p->n_conns ? n : p->n_conns; n--; p->turn++) {
		struct conn *c = &p->conns[p->turn % p->n_conns];

		if (!c->greeted || c->ended)
			continue;
		snprintf(line, sizeof(line), "%*u\n", PROBE_LINE - 1, c->sent);
		/* EAGAIN: the send buffer is full, the connection stands: nothing was sent */
		if (send(c->fd, line, PROBE_LINE, MSG_NOSIGNAL) == PROBE_LINE)
			c->sent++;
	}
}

/* ---- pings */

static uint16_t checksum(const void *data, size_t len)
{
	const uint16_t *w = data;
	uint32_t sum = 0;

	for (; len > 1; len -= 2)
		sum += *w++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static void ping_send(struct stream *t, unsigned int number)
{
	struct {
		struct icmphdr icmp;
		struct message m;
	} packet = { .icmp.type = ICMP_ECHO, .m = { .index = t->n, .magic = MAGIC + number } };
	ssize_t n;

	if (t->n == t->size) {
		t->size = t->size ? 2 * t->size : 4096;
		t->pings = realloc(t->pings, t->size * sizeof(*t->pings));
		if (!t->pings)
			die("out of memory");
	}
	t->pings[t->n] = (struct ping){ .sent = now_ns() };
	if (t->port) {
		n = send(t->fd, &packet.m, sizeof(packet.m), MSG_NOSIGNAL);
	} else {
		packet.icmp.un.echo.id = htons(getpid() + number);
		packet.icmp.un.echo.sequence = htons(t->n);
		packet.icmp.checksum = checksum(&packet, sizeof(packet));
		n = send(t->fd, &packet, sizeof(packet), MSG_NOSIGNAL);
	}
	/* an error told by an earlier ping's ICMP: that one is lost, this one not sent */
	if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
		return;
	t->n++;
}

static void pings_read(struct stream *t, unsigned int number)
{
	char buf[2048];
	ssize_t n;

	while ((n = recv(t->fd, buf, sizeof(buf), 0)) >= 0 || errno != EAGAIN) {
		size_t skip = t->port ? 0 : sizeof(struct iphdr) + sizeof(struct icmphdr);
		struct message m;

		if (n < 0)
			continue;	/* ICMP error told on the socket: the ping stays unanswered */
		if ((size_t)n != skip + sizeof(m))
			continue;
		memcpy(&m, buf + skip, sizeof(m));
		if (m.magic != MAGIC + number || m.index >= t->n || t->pings[m.index].came)
			continue;
		t->pings[m.index].came = now_ns();
		t->answered++;
		gap(&t->last, &t->max_gap, &t->max_gap_at, t->pings[m.index].came);
	}
}

/* ---- the run */

static bool all_answer(const struct probe *p)
{
	unsigned int i;

	for (i = 0; i < p->n_conns; i++)
		if (!p->conns[i].ended && !p->conns[i].echoed)
			return false;
	for (i = 0; i < p->n_streams; i++)
		if (!p->streams[i].answered)
			return false;
	return true;
}

/* all_done - waited: ns since the last was sent */
static bool all_done(const struct probe *p, uint64_t waited)
{
	unsigned int i;

	for (i = 0; i < p->n_conns && waited <= DRAIN_TCP_NS; i++)
		if (!p->conns[i].ended && p->conns[i].echoed < p->conns[i].sent)
			return false;
	for (i = 0; i < p->n_streams && waited <= DRAIN_NS; i++)
		if (p->streams[i].answered < p->streams[i].n)
			return false;
	return true;
}

/* expired - how often since it was last asked */
static uint64_t expired(int fd)
{
	uint64_t times;

	return read(fd, &times, sizeof(times)) == sizeof(times) ? times : 0;
}

static void handle(struct probe *p, void *who)
{
	unsigned int i;

	if (who == &p->ping_timer) {
		/* late by several intervals: one ping, not a burst */
		if (expired(p->ping_timer) && !p->stopping)
			for (i = 0; i < p->n_streams; i++)
				ping_send(&p->streams[i], i);
	} else if (who == &p->line_timer) {
		uint64_t times = expired(p->line_timer);

		if (!p->stopping)
			lines_send(p, times);
	} else if (who == &p->flood_timer) {
		if (expired(p->flood_timer) && !p->stopping)
			for (i = 0; i < p->n_floods; i++)
				flood_send(p->floods[i], now_ns());
	} else if (who == &p->signals) {
		struct signalfd_siginfo info;

		if (read(p->signals, &info, sizeof(info)) == sizeof(info))
			p->asked = true;
	} else if (who >= (void *)p->streams && who < (void *)(p->streams + MAX_STREAMS)) {
		struct stream *t = who;

		pings_read(t, t - p->streams);
	} else if (((struct conn *)who)->fd >= 0) {
		conn_read(who);
	}
}

static void run(struct probe *p)
{
	struct epoll_event ev[64];
	unsigned int i;
	int n, k;

	for (i = 0; i < p->n_conns; i++)
		conn_start(p, &p->conns[i]);
	for (i = 0; i < p->n_streams; i++)
		stream_start(p, &p->streams[i]);
	p->started = now_ns();
	for (;;) {
		uint64_t now;

		n = epoll_wait(p->epoll, ev, 64, 100);
		for (k = 0; k < n; k++)
			handle(p, ev[k].data.ptr);
		now = now_ns();
		if (!p->ready && all_answer(p)) {
			p->ready = true;
			puts("{\"ready\": true}");
			fflush(stdout);
		}
		if (!p->stopping && (p->asked || (p->seconds && now - p->started > p->seconds * 1000 * MS))) {
			p->stopping = true;
			p->stopped = now;
		}
		if (p->stopping && all_done(p, now - p->stopped))
			return;
	}
}

static unsigned int number(const char *option, const char *s, double scale)
{
	char *end;
	double v = strtod(s, &end);

	if (end == s || *end || v * scale < 1 || v * scale > 1e9)
		die("--%s %s: a positive number is needed", option, s);
	return v * scale;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "echo", required_argument, NULL, 'e' }, { "name", required_argument, NULL, 'n' },
		{ "tcp", required_argument, NULL, 't' }, { "icmp", required_argument, NULL, 'i' },
		{ "udp", required_argument, NULL, 'u' },
		{ "flood", required_argument, NULL, 'f' }, { "trace", required_argument, NULL, 'c' },
		{ "ping-ms", required_argument, NULL, 'p' },
		{ "line-ms", required_argument, NULL, 'l' }, { "seconds", required_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	static struct probe p = { .ping_us = 3000, .line_us = 10000 };
	const char *name = "echo", *csv = NULL;
	unsigned int port = 0;
	sigset_t stop;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'e': port = number("echo", optarg, 1); break;
		case 'n': name = optarg; break;
		case 't': add_conns(&p, optarg); break;
		case 'i': add_stream(&p, optarg, true); break;
		case 'u': add_stream(&p, optarg, false); break;
		case 'f': add_flood(&p, optarg); break;
		case 'c': csv = optarg; break;
		case 'p': p.ping_us = number("ping-ms", optarg, 1000); break;
		case 'l': p.line_us = number("line-ms", optarg, 1000); break;
		case 's': p.seconds = number("seconds", optarg, 1); break;
		case 'h': usage(stdout); return 0;
		default: usage(stderr); return 2;
		}
	}
	if (port > 65535 || optind < argc || (!port && !p.n_conns && !p.n_streams && !p.n_floods)) {
		usage(stderr);
		return 2;
	}
	if (port)
		return echo_serve(port, name);

	p.epoll = epoll_create1(EPOLL_CLOEXEC);
	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	p.signals = signalfd(-1, &stop, SFD_NONBLOCK | SFD_CLOEXEC);
	if (p.epoll < 0 || p.signals < 0)
		die("%s", strerror(errno));
	watch(&p, p.signals, &p.signals);
	p.ping_timer = timer(&p, p.ping_us, &p.ping_timer);
	if (p.n_conns)
		p.line_timer = timer(&p, p.line_us / p.n_conns + 1, &p.line_timer);
	if (p.n_floods)
		p.flood_timer = timer(&p, 1000, &p.flood_timer);
	run(&p);
	if (csv)
		trace(&p, csv);
	report(&p);
	return 0;
}
