// SPDX-License-Identifier: GPL-2.0
/*
 * Probes over a plain socket: TCP connect, HTTP status and body, ICMP echo. A
 * probe goes where traffic goes: to the VIP, from the DIP, and with the mark of
 * its target if that is behind this host, so that NAT takes it there like a
 * packet of a client. A service that answers only at an address of its own is
 * down. A probe never asks another host: the VIP is local here, or it fails.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "helper.h"

socklen_t probe_address(const struct addr *addr, uint16_t port, struct sockaddr_in6 *out)
{
	struct sockaddr_in *four = (void *)out;
	const void *raw;
	size_t len;

	memset(out, 0, sizeof(*out));
	raw = addr_raw(addr, &len);
	if (len == 4) {
		four->sin_family = AF_INET;
		four->sin_port = htons(port);
		memcpy(&four->sin_addr, raw, len);
		return sizeof(*four);
	}
	out->sin6_family = AF_INET6;
	out->sin6_port = htons(port);
	memcpy(&out->sin6_addr, raw, len);
	return sizeof(*out);
}

/* options - that make a socket go the way that traffic goes */
static int options(struct check *c, int fd)
{
	struct addr dip = to_addr(&c->def.key.dip), vip = to_addr(&c->def.key.vip);
	struct linger reset = { .l_onoff = 1 };
	struct sockaddr_in6 from;
	socklen_t len;
	int one = 1;

	/* if the VIP isn't on this host, fail: don't ask another host through the mux */
	setsockopt(fd, SOL_SOCKET, SO_DONTROUTE, &one, sizeof(one));
	if (c->def.probe.type != CHECK_ICMP) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		/* thousands of probes leave no sockets waiting behind them */
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	}
	if (addr_is_v4(&dip) != addr_is_v4(&vip))
		return 0;
	len = probe_address(&dip, 0, &from);
	return bind(fd, (struct sockaddr *)&from, len) ? -errno : 0;
}

int probe_socket(struct check *c)
{
	struct addr vip = to_addr(&c->def.key.vip);
	bool icmp = c->def.probe.type == CHECK_ICMP;
	int fd, ret;

	/* a mark and a raw socket take privileges */
	if (icmp || !addr_is_none(&c->def.target))
		fd = helper_socket(c->all->helper, &c->def.key, &c->def.target, icmp);
	else
		fd = socket(addr_is_v4(&vip) ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return fd == -1 ? -errno : fd;
	ret = options(c, fd);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

static void probe_close(struct check *c)
{
	c->io = sd_event_source_disable_unref(c->io);
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

int probe_answer(struct check *c, bool over, char *why, size_t size)
{
	unsigned int status;
	char *body;

	c->text[c->len] = '\0';
	if (c->len < 13 && !strchr(c->text, '\n') && !over)
		return 0;
	if (sscanf(c->text, "HTTP/%*u.%*u %3u", &status) != 1 && sscanf(c->text, "HTTP/%*u %3u", &status) != 1) {
		snprintf(why, size, "port %u doesn't answer in HTTP", c->def.probe.port);
		return -1;
	}
	if (status != c->def.probe.expect) {
		snprintf(why, size, "HTTP status %u, not %u", status, c->def.probe.expect);
		return -1;
	}
	if (!c->def.probe.body[0])
		return 1;
	body = strstr(c->text, "\r\n\r\n");
	if (body && strstr(body + 4, c->def.probe.body))
		return 1;
	if (!over && c->len < sizeof(c->text) - 1)
		return 0;
	snprintf(why, size, "the first %zu bytes of the answer have no \"%.64s\"", c->len, c->def.probe.body);
	return -1;
}

static void http_read(struct check *c)
{
	ssize_t n = recv(c->fd, c->text + c->len, sizeof(c->text) - 1 - c->len, 0);
	char why[160];
	int ret;

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			check_failed(c, "HTTP: %s", strerror(errno));
		return;
	}
	if (!n && !c->len) {
		check_failed(c, "port %u closed the connection without an HTTP status", c->def.probe.port);
		return;
	}
	c->len += n;
	ret = probe_answer(c, !n, why, sizeof(why));
	if (ret)
		check_result(c, ret > 0 ? "" : why);
}

static void http_write(struct check *c)
{
	ssize_t n = send(c->fd, c->text + c->sent, c->len - c->sent, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			check_failed(c, "HTTP: %s", strerror(errno));
		return;
	}
	c->sent += n;
	if (c->sent < c->len)
		return;
	c->len = c->sent = 0;
	sd_event_source_set_io_events(c->io, EPOLLIN);
}

static void icmp_read(struct check *c)
{
	uint8_t packet[192];
	struct icmphdr icmp;
	ssize_t n = recv(c->fd, packet, sizeof(packet), 0);
	struct addr vip = to_addr(&c->def.key.vip);
	bool v4 = addr_is_v4(&vip);
	size_t header = v4 ? (packet[0] & 15) * 4 : 0;

	if (n < (ssize_t)(header + sizeof(icmp)))
		return;
	memcpy(&icmp, packet + header, sizeof(icmp));
	if (icmp.type == (v4 ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY) && icmp.un.echo.id == (uint16_t)getpid() &&
	    icmp.un.echo.sequence == c->sequence)
		check_result(c, "");
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct check *c = ctx;
	socklen_t size = sizeof(int);
	int error = 0;

	if (c->def.probe.type == CHECK_ICMP) {
		icmp_read(c);
		return 0;
	}
	if (!c->connected) {
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
		if (error) {
			check_failed(c, "port %u: %s", c->def.probe.port, strerror(error));
			return 0;
		}
		c->connected = true;
		if (c->def.probe.type == CHECK_TCP) {
			check_result(c, "");
			return 0;
		}
	}
	if (c->sent < c->len && !(revents & EPOLLIN))
		http_write(c);
	else
		http_read(c);
	return 0;
}

static uint16_t icmp_sum(const void *data, size_t len)
{
	const uint16_t *p = data;
	uint32_t sum = 0;

	for (; len > 1; len -= 2)
		sum += *p++;
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static int icmp_send(struct check *c, bool v4)
{
	struct icmphdr icmp = { .type = v4 ? ICMP_ECHO : ICMP6_ECHO_REQUEST, .un.echo.id = getpid() };

	icmp.un.echo.sequence = ++c->sequence;
	/* over IPv6 the kernel writes the sum */
	if (v4)
		icmp.checksum = icmp_sum(&icmp, sizeof(icmp));
	return send(c->fd, &icmp, sizeof(icmp), 0) < 0 ? -errno : 0;
}

static void start(struct check *c)
{
	struct addr at = to_addr(&c->def.key.vip);
	bool icmp = c->def.probe.type == CHECK_ICMP, v4 = addr_is_v4(&at);
	char vip[ADDR_STRLEN];
	struct sockaddr_in6 to;
	socklen_t len = probe_address(&at, icmp ? 0 : c->def.probe.port, &to);
	int ret = probe_socket(c);

	addr_str(&at, vip);
	if (ret < 0) {
		check_failed(c, "can't probe from the DIP's address: %s", strerror(-ret));
		return;
	}
	c->fd = ret;
	if (connect(c->fd, (struct sockaddr *)&to, len) && errno != EINPROGRESS) {
		check_failed(c, "%s port %u: %s", vip, c->def.probe.port, strerror(errno));
		return;
	}
	if (c->def.probe.type == CHECK_HTTP)
		c->len = snprintf(c->text, sizeof(c->text),
				  "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: duet-host-agent\r\nConnection: close\r\n\r\n",
				  c->def.probe.path, c->def.probe.host[0] ? c->def.probe.host : vip);
	ret = icmp ? icmp_send(c, v4) : 0;
	if (ret) {
		check_failed(c, "echo request: %s", strerror(-ret));
		return;
	}
	ret = sd_event_add_io(c->all->loop, &c->io, c->fd, icmp ? EPOLLIN : EPOLLIN | EPOLLOUT, on_io, c);
	if (ret < 0)
		check_failed(c, "can't probe: %s", strerror(-ret));
}

static const char *awaits(const struct check *c)
{
	return c->def.probe.type == CHECK_ICMP ? "echo reply" : c->connected ? "HTTP answer" : "connection";
}

const struct probe_ops probe_tcp = { start, probe_close, awaits };
const struct probe_ops probe_http = { start, probe_close, awaits };
const struct probe_ops probe_icmp = { start, probe_close, awaits };
