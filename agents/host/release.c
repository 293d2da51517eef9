// SPDX-License-Identifier: GPL-2.0
/*
 * Tells the agent's checks when a socket that listened is closed, by a program of its own
 * (bpf/release.bpf.c): every host with checks of ports has it, so it costs little
 * to load. Without it only speed is lost: services are asked after at their
 * intervals. A kernel that refuses it is asked once.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "release.h"
#include "release.skel.h"

static const char link_name[] = "link-release";

struct release {
	sd_event *loop;
	int hurry;			/* borrowed: an eventfd of the agent */
	const char *pin;		/* borrowed */
	struct release_bpf *skel;	/* NULL until there is a need */
	struct ring_buffer *ring;
	sd_event_source *ring_io;
	int link;			/* -1: not attached by this process */
	bool refused;
};

int release_start(sd_event *loop, int hurry, const char *pin, struct release **out)
{
	struct release *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->loop = loop;
	r->hurry = hurry;
	r->pin = pin;
	r->link = -1;
	*out = r;
	return 0;
}

static void unload(struct release *r)
{
	r->ring_io = sd_event_source_disable_unref(r->ring_io);
	ring_buffer__free(r->ring);
	r->ring = NULL;
	release_bpf__destroy(r->skel);
	r->skel = NULL;
}

void release_stop(struct release *r)
{
	if (!r)
		return;
	unload(r);
	hook_sockets_close(&r->link);
	free(r);
}

static int on_closed(void *ctx, void *data, size_t size)
{
	return 0;
}

static int on_ring(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct release *r = ctx;
	uint64_t one = 1;

	ring_buffer__consume(r->ring);
	if (write(r->hurry, &one, sizeof(one)) < 0)
		log_debug("the end of a service is not seen at once: %s", strerror(errno));
	return 0;
}

static int load(struct release *r, struct err *e)
{
	uint64_t cookie;
	int ret;

	ret = hook_netns(&cookie, e);
	if (ret)
		return ret;
	r->skel = release_bpf__open();
	if (!r->skel)
		return err_set(e, -errno, "the program can't be read: %s", strerror(errno));
	r->skel->rodata->netns = cookie;
	ret = release_bpf__load(r->skel);
	if (ret)
		return err_set(e, ret, "the kernel refuses the program: %s", strerror(-ret));
	r->ring = ring_buffer__new(bpf_map__fd(r->skel->maps.closed), on_closed, NULL, NULL);
	if (!r->ring || sd_event_add_io(r->loop, &r->ring_io, ring_buffer__epoll_fd(r->ring), EPOLLIN, on_ring, r) < 0)
		return err_set(e, -ENOMEM, "no memory for events of sockets");
	return hook_sockets(r->pin, link_name, BPF_CGROUP_INET_SOCK_RELEASE,
			    bpf_program__fd(r->skel->progs.duet_release), &r->link, e);
}

void release_apply(struct release *r, const struct desired *d)
{
	struct err e;

	if (!d->has_ports) {
		/* one of an agent before us goes, too */
		hook_sockets_leave(r->pin, link_name, &r->link);
		unload(r);
	} else if (!r->skel && !r->refused && load(r, &e)) {
		log_notice("the end of a service is not seen at once: %s", e.text);
		r->refused = true;
		unload(r);
	}
}

void release_unlink(const char *pin)
{
	static const char *const names[] = { link_name };

	pin_remove(pin, names, 1);
}
