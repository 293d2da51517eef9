// SPDX-License-Identifier: GPL-2.0
/*
 * The helper: a process that the agent forks before it opens anything. It holds what
 * takes privileges, does what messages ask for after it has checked them, and ends
 * when the agent ends. It never reads the network, and no text but its configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"
#include "helper.h"
#include "log.h"
#include "release.h"

/* What the unit leaves it too. SYS_ADMIN: the kernel asks for it where programs are found by number. */
static const int caps[] = { CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, -1 };

struct server {
	struct privileged priv;		/* first: handlers have the rest from it */
	struct draft draft;
	int socket;
	bool broken;			/* the agent broke the framing, or is gone */
};

static void send_answer(struct server *s, const struct message_answer *a, const void *data, size_t len, int fd)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {};
	struct iovec parts[] = { { (void *)a, sizeof(*a) }, { (void *)data, len } };
	struct msghdr msg = { .msg_iov = parts, .msg_iovlen = 2 };

	if (fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.head = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	}
	if (sendmsg(s->socket, &msg, MSG_NOSIGNAL) < 0)
		s->broken = true;
}

static void refuse(struct server *s, int ret, const char *text)
{
	send_answer(s, &(struct message_answer){ .ret = ret < 0 ? ret : -EIO }, text, strlen(text), -1);
}

/* rows - any number of them, in as many answers as they need */
static void rows(struct server *s, const void *data, size_t size, unsigned int n)
{
	unsigned int room = (MESSAGE_MAX - sizeof(struct message_answer)) / size, part;

	do {
		part = n < room ? n : room;
		n -= part;
		send_answer(s, &(struct message_answer){ .n = part, .more = n > 0 }, data, part * size, -1);
		data = (const char *)data + part * size;
	} while (n && !s->broken);
}

/* ---- what messages ask for ---- */

static void on_commit(struct server *s, const void *record)
{
	struct changed c = {};
	struct desired d;
	struct err e;
	int ret = draft_finish(&s->draft, s->priv.conf, &d, &e);
	unsigned int i;

	for (i = 0; !ret && i < d.n_pairs; i++) {
		struct addr dip = to_addr(&d.pairs[i].key.dip);

		if (!host_has(&dip))
			ret = err_set(&e, -EADDRNOTAVAIL, "a DIP is no address of this host");
	}
	if (!ret) {
		ret = apply_state(&s->priv, &d, &c, &e);
		/* half made or whole: what is asked for is what a target's state is looked up in */
		desired_free(&s->priv.made);
		s->priv.made = d;
	}
	if (ret)
		refuse(s, ret, e.text);
	else
		rows(s, &c, sizeof(c), 1);
}

static void on_down(struct server *s, const void *record)
{
	const struct message_down *m = record;

	apply_down(&s->priv, &m->key, &m->target, m->down);
}

static void on_health_set(struct server *s, const void *record)
{
	const struct message_health *m = record;
	struct decap_health health = m->health;

	if (m->forget) {
		dp_health_set(s->priv.dp, &m->key, NULL);
		return;
	}
	if (health.state > CHECK_DOWN)
		return;
	health.reason[sizeof(health.reason) - 1] = '\0';
	dp_health_set(s->priv.dp, &m->key, &health);
}

static void on_health_get(struct server *s, const void *record)
{
	struct decap_health health;

	if (dp_health_get(s->priv.dp, record, &health))
		rows(s, &health, sizeof(health), 1);
	else
		refuse(s, -ENOENT, "nothing is known of that check");
}

static void on_fence(struct server *s, const void *record)
{
	struct err e;
	int ret = fencing_pass(&s->priv, record, &e);

	if (ret)
		refuse(s, ret, e.text);
	else
		rows(s, NULL, 1, 0);
}

static void on_unfence(struct server *s, const void *record)
{
	struct decap_meta was;
	struct err e;
	int ret = fencing_reset(&s->priv, &was, &e);

	if (ret)
		refuse(s, ret, e.text);
	else
		rows(s, &was, sizeof(was), 1);
}

static void on_status(struct server *s, const void *record)
{
	struct helper_status st;
	unsigned int i;

	memset(&st, 0, sizeof(st));
	dp_meta_get(s->priv.dp, &st.fence);
	dp_facts(s->priv.dp, &st.facts);
	for (i = 0; i < __DECAP_MAX; i++)
		dp_reason(s->priv.dp, i, &st.reasons[i]);
	for (i = 0; i < __SNAT_COUNTS; i++)
		snat_count(s->priv.snat, i, &st.snat[i]);
	snat_hooked(s->priv.snat, &st.snat_sockets, &st.snat_forwarded);
	rows(s, &st, sizeof(st), 1);
}

static void on_served(struct server *s, const void *record)
{
	struct decap_key *keys = NULL;
	struct served_row *list;
	unsigned int n = 0, i, have = 0;

	dp_served_get(s->priv.dp, &keys, &n);
	list = calloc(n + 1, sizeof(*list));
	for (i = 0; list && i < n; i++) {
		list[have].key = keys[i];
		have += !dp_served_find(s->priv.dp, &keys[i], &list[have].value);
	}
	rows(s, list, sizeof(*list), have);
	free(list);
	free(keys);
}

static void on_meters(struct server *s, const void *record)
{
	struct meter_row *list = NULL;
	unsigned int n = 0;

	if (dp_meters_get(s->priv.dp, &list, &n))
		n = 0;
	rows(s, list, sizeof(*list), n);
	free(list);
}

static void on_rack_names(struct server *s, const void *record)
{
	char (*names)[RACK_NAME] = NULL;
	unsigned int n = 0, i, have = 0;
	struct rack_row *list;

	if (dp_racks_get(s->priv.dp, &names, &n))
		n = 0;
	list = calloc(n + 1, sizeof(*list));
	for (i = 0; list && i < n; i++) {
		if (!names[i][0])
			continue;
		list[have].number = i;
		memcpy(list[have++].name, names[i], sizeof(list->name));
	}
	rows(s, list, sizeof(*list), have);
	free(list);
	free(names);
}

static void on_muxes(struct server *s, const void *record)
{
	struct message_prefix *list;
	struct prefix *muxes = NULL;
	unsigned int n = 0, i;

	if (dp_muxes_get(s->priv.dp, &muxes, &n))
		n = 0;
	list = calloc(n + 1, sizeof(*list));
	for (i = 0; list && i < n; i++)
		list[i] = (struct message_prefix){ .address = muxes[i].addr, .len = muxes[i].len };
	rows(s, list, sizeof(*list), list ? n : 0);
	free(list);
	free(muxes);
}

static void on_held(struct server *s, const void *record)
{
	struct message_range *list = NULL;
	unsigned int n = held_get(s->priv.conf->pin, &list);

	rows(s, list, sizeof(*list), n);
	free(list);
}

struct flows {
	struct flow *list;
	unsigned int n, room;
};

static void on_flow(const struct flow *f, void *ctx)
{
	struct flows *all = ctx;
	struct flow *more;

	if (all->n == all->room) {
		more = realloc(all->list, (2 * all->room + 256) * sizeof(*more));
		if (!more)
			return;
		all->list = more;
		all->room = 2 * all->room + 256;
	}
	all->list[all->n++] = *f;
}

static void on_forwards(struct server *s, const void *record)
{
	struct flows all = {};
	int ret = forwards_each(record, on_flow, &all);

	if (ret)
		refuse(s, ret, strerror(-ret));
	else
		rows(s, all.list, sizeof(*all.list), all.n);
	free(all.list);
}

/* ---- sockets ---- */

/* echoes_only - whoever holds the raw socket reads answers to echo requests and nothing else, for good */
static int echoes_only(int fd, bool v4)
{
	struct sock_filter four[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP_ECHOREPLY, 0, 1), BPF_STMT(BPF_RET | BPF_K, 192), BPF_STMT(BPF_RET | BPF_K, 0),
	}, six[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ICMP6_ECHO_REPLY, 0, 1), BPF_STMT(BPF_RET | BPF_K, 192), BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = v4 ? (struct sock_fprog){ 5, four } : (struct sock_fprog){ 4, six };
	int one = 1;

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ||
	       setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof(one)) ? -errno : 0;
}

static int socket_make(struct privileged *p, const struct message_socket *m)
{
	struct decap_local local = { m->key.vip, m->key.dip, of_addr(&m->target) };
	struct addr vip = to_addr(&m->key.vip);
	uint32_t number = 0, mark;
	struct decap_served served;
	bool v4 = addr_is_v4(&vip);
	int fd, ret = 0;

	if (dp_served_find(p->dp, &m->key, &served) || (!addr_is_none(&m->target) && !dp_local_find(p->dp, &local, &number)))
		return -ENOENT;
	fd = socket(v4 ? AF_INET : AF_INET6, (m->icmp ? SOCK_RAW : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC,
		    !m->icmp ? IPPROTO_TCP : v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	if (fd < 0)
		return -errno;
	mark = DECAP_MARK | number;
	if (number && setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)))
		ret = -errno;
	if (!ret && m->icmp)
		ret = echoes_only(fd, v4);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

static void on_socket(struct server *s, const void *record)
{
	int fd = socket_make(&s->priv, record);

	send_answer(s, &(struct message_answer){ .ret = fd < 0 ? fd : 0 }, NULL, 0, fd);
	if (fd >= 0)
		close(fd);
}

/* ---- the process ---- */

static void (*const handlers[__MESSAGES])(struct server *s, const void *record) = {
	[MSG_COMMIT] = on_commit, [MSG_DOWN] = on_down, [MSG_HEALTH_SET] = on_health_set, [MSG_HEALTH_GET] = on_health_get,
	[MSG_FENCE] = on_fence, [MSG_UNFENCE] = on_unfence, [MSG_STATUS] = on_status, [MSG_SERVED] = on_served,
	[MSG_METERS] = on_meters, [MSG_RACK_NAMES] = on_rack_names, [MSG_MUXES_GET] = on_muxes, [MSG_HELD] = on_held,
	[MSG_FORWARDS] = on_forwards, [MSG_SOCKET] = on_socket,
};

static int on_message(sd_event_source *source, int fd, uint32_t events, void *ctx)
{
	char data[MESSAGE_MAX + 1] __attribute__((aligned(8)));
	struct server *s = ctx;
	const void *records;
	unsigned int count;
	ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
	int type, ret = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return sd_event_exit(s->priv.loop, 0);	/* the agent has ended */
	type = message_check(data, n, &records, &count);
	if (type < 0)
		ret = type;
	else if (handlers[type])
		handlers[type](s, records);
	else
		ret = draft_add(&s->draft, type, records, count);
	explicit_bzero(data, n);
	if (!ret && !s->broken)
		return 0;
	if (ret)
		log_err("the agent sent what is no message (%s): both end, to be started again; traffic goes on", strerror(-ret));
	return sd_event_exit(s->priv.loop, 1);
}

/* alone - nothing of the agent stays open but its end of the socket, the event of closed sockets, and the log */
static void alone(int *socket, int *hurry)
{
	sigset_t set;
	int fds[2];

	/* the agent's end is this process's end: no signal that is for the whole group ends it sooner */
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	prctl(PR_SET_NAME, "duet-helper");
	prctl(PR_SET_DUMPABLE, 0);
	fds[0] = fcntl(*socket, F_DUPFD_CLOEXEC, 10);
	fds[1] = fcntl(*hurry, F_DUPFD_CLOEXEC, 10);
	*socket = fds[0] < 0 ? -1 : dup3(fds[0], 3, O_CLOEXEC);
	*hurry = fds[1] < 0 ? -1 : dup3(fds[1], 4, O_CLOEXEC);
	close_range(5, ~0u, 0);
}

static int open_all(struct privileged *p, int hurry, struct err *e)
{
	const struct conf *conf = p->conf;
	int ret = daemon_keep_caps(caps, e);

	if (!ret)
		ret = lo_open(&p->lo, e);
	if (!ret)
		ret = nft_open(&p->nft, e);
	if (!ret)
		ret = dp_open(conf->interface, conf->attach, conf->meter, conf->pin, &p->dp, e);
	if (!ret)
		ret = fencing_open(p, e);
	if (!ret)
		ret = dp_sources_set(p->dp, conf->client_prefixes, conf->n_client_prefixes, e);
	if (ret)
		return ret;
	if (conf->manage_sysctl)
		sysctls_manage(p->dp, conf->interface);
	ret = release_start(p->loop, hurry, conf->pin, &p->release);
	if (!ret)
		ret = snat_start(conf->pin, &p->snat);
	return ret ? err_set(e, ret, "programs of sockets: %s", strerror(-ret)) : 0;
}

static void close_all(struct privileged *p)
{
	snat_stop(p->snat);
	release_stop(p->release);
	fence_close(&p->fence);
	desired_free(&p->made);
	dp_close(p->dp);
	nft_close(p->nft);
	lo_close(p->lo);
	sd_event_unref(p->loop);
}

void privileged(int socket, int hurry, const struct conf *conf)
{
	struct server s = { .priv = { .conf = conf, .fence.fd = -1 } };
	struct err e;
	int ret;

	alone(&socket, &hurry);
	s.socket = socket;
	ret = sd_event_new(&s.priv.loop);
	if (ret >= 0)
		ret = sd_event_add_io(s.priv.loop, NULL, socket, EPOLLIN, on_message, &s);
	if (ret < 0)
		err_set(&e, ret, "the helper has no event loop: %s", strerror(-ret));
	else
		ret = open_all(&s.priv, hurry, &e);
	if (ret < 0)
		refuse(&s, ret, e.text);
	else
		rows(&s, NULL, 1, 0);
	if (ret >= 0 && !s.broken)
		ret = sd_event_loop(s.priv.loop);
	draft_free(&s.draft);
	close_all(&s.priv);
	_exit(ret ? 1 : 0);
}
