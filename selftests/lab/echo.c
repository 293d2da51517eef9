// SPDX-License-Identifier: GPL-2.0
/*
 * The server half of duet-probe: echoes lines and datagrams. A datagram's
 * answer leaves with the address that the question was sent to, the VIP, which
 * a plain UDP socket wouldn't do.
 */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER	0	/* epoll data: the two servers' sockets, else the connection's */
#define DATAGRAMS	1

static int server_socket(int type, uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (type == SOCK_DGRAM)
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) || (type == SOCK_STREAM && listen(fd, 512)))
		die("port %u: %s", port, strerror(errno));
	return fd;
}

static void watch(int epoll, int fd, uint64_t data)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = data };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &ev))
		die("epoll: %s", strerror(errno));
}

static void accept_all(int epoll, int listener, const char *greeting)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		if (send(fd, greeting, strlen(greeting), MSG_NOSIGNAL) < 0) {
			close(fd);
			continue;
		}
		watch(epoll, fd, fd);
	}
}

/* A peer that doesn't read loses lines: what comes in is small and answered at once. */
static void echo_lines(int fd)
{
	char buf[4096];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (send(fd, buf, n, MSG_NOSIGNAL) != n)
			break;
	if (n < 0 && errno == EAGAIN)
		return;
	close(fd);
}

static void echo_datagrams(int fd)
{
	char buf[2048], control[256];
	struct sockaddr_in from;
	struct iovec iov = { .iov_base = buf };
	struct msghdr msg = { .msg_name = &from, .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control };
	struct cmsghdr *c;
	ssize_t n;

	for (;;) {
		iov.iov_len = sizeof(buf);
		msg.msg_namelen = sizeof(from);
		msg.msg_controllen = sizeof(control);
		n = recvmsg(fd, &msg, 0);
		if (n < 0)
			return;
		iov.iov_len = n;
		/* sent back as it came, the packet info says source address; the device is routing's to choose */
		for (c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			struct in_pktinfo *info = (void *)CMSG_DATA(c);

			if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO)
				continue;
			info->ipi_ifindex = 0;
			info->ipi_spec_dst = info->ipi_addr;
		}
		sendmsg(fd, &msg, MSG_NOSIGNAL);
	}
}

int echo_serve(uint16_t port, const char *name)
{
	int listener = server_socket(SOCK_STREAM, port), datagrams = server_socket(SOCK_DGRAM, port);
	int discard = server_socket(SOCK_DGRAM, PROBE_DISCARD), least = 1;
	int epoll = epoll_create1(EPOLL_CLOEXEC), i, n;
	char greeting[PROBE_GREETING + 1];
	struct epoll_event ev[64];

	if (epoll < 0)
		die("epoll: %s", strerror(errno));
	/* never read: when its small buffer is full, the kernel drops what comes */
	setsockopt(discard, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least));
	snprintf(greeting, sizeof(greeting), "%.*s\n", PROBE_GREETING - 1, name);
	watch(epoll, listener, LISTENER);
	watch(epoll, datagrams, DATAGRAMS);
	for (;;) {
		n = epoll_wait(epoll, ev, 64, -1);
		for (i = 0; i < n; i++) {
			if (ev[i].data.u64 == LISTENER)
				accept_all(epoll, listener, greeting);
			else if (ev[i].data.u64 == DATAGRAMS)
				echo_datagrams(datagrams);
			else
				echo_lines(ev[i].data.u64);
		}
	}
}
