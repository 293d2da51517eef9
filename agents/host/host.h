/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The parts of duet-host-agent: data plane, delivery, checks, reports, and the
 * state they share. One thread, one event loop; nothing here is locked.
 */
#ifndef DUET_AGENT_HOST_H
#define DUET_AGENT_HOST_H

#include <jansson.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <systemd/sd-event.h>
#include "addr.h"
#include "bpf/decap.h"
#include "conf.h"
#include "delivery.h"
#include "fence.h"
#include "http.h"
#include "key.h"
#include "probe.h"
#include "vip.h"

#define RACK_NAME	64
#define HOST_PREFIXES	64	/* in one list of the configuration */
#define HOST_CONTROLLERS 8

struct helper;			/* helper.h */

enum attach { ATTACH_AUTO, ATTACH_XDP, ATTACH_TC };

struct conf {
	char *name, *controller_text, *interface, *pin, *attach_text;
	char controllers[HOST_CONTROLLERS][256];	/* URLs that it reports to */
	unsigned int n_controllers;
	char *state_dir;		/* of the fence; NULL: systemd's, or none */
	char *user;			/* of the process that faces the network */
	char *mux_prefixes_text, *client_prefixes_text, *vip_prefixes_text;
	struct prefix mux_prefixes[HOST_PREFIXES], client_prefixes[HOST_PREFIXES], vip_prefixes[HOST_PREFIXES];
	unsigned int n_mux_prefixes, n_client_prefixes, n_vip_prefixes;	/* 0: all */
	char *check_dir, *check_user;	/* of checks by command; dir NULL: there are none */
	struct http_conf http;
	struct auth_conf lists;
	struct auth auth;		/* of the lists */
	struct addr address;
	enum attach attach;
	unsigned int mtu;
	bool manage_sysctl, meter;
};

/* ---- config.c ---- */
int config_read(const char *file, struct conf *conf, struct err *e);
void config_free(struct conf *conf);

/* The maps' addresses are struct addr in words. */
static inline struct addr to_addr(const struct decap_addr *from)
{
	struct addr a;

	memcpy(&a, from, sizeof(a));
	return a;
}

static inline struct decap_addr of_addr(const struct addr *from)
{
	struct decap_addr a;

	memcpy(&a, from, sizeof(a));
	return a;
}

static inline const char *str_addr(const struct decap_addr *a, char buf[ADDR_STRLEN])
{
	struct addr b = to_addr(a);

	return addr_str(&b, buf);
}

/* ---- hook.c: where a program hangs ---- */
enum hook_kind { HOOK_INGRESS, HOOK_EGRESS, HOOK_XDP, HOOK_SNAT, __HOOKS };

struct hook_prog {
	uint8_t tag[8];
	uint32_t id;
	char name[16];
};

const char *hook_program(enum hook_kind kind);
int hook_prog_info(int prog, struct hook_prog *info);
/* hook_get - fd of the program of ours there; -ENOENT: none, -EEXIST: another's */
int hook_get(unsigned int ifindex, enum hook_kind kind);
int hook_attach(unsigned int ifindex, enum hook_kind kind, int prog, struct err *e);
/* hook_detach - if it is ours; true: it was */
bool hook_detach(unsigned int ifindex, enum hook_kind kind);
/* hook_foreign - how many tc filters of others are at ingress */
unsigned int hook_foreign(unsigned int ifindex);
/* hook_leave - take clsact away unless somebody has filters there */
void hook_leave(unsigned int ifindex);
/* hook_root_cgroup - a folder fd of the cgroup that all processes are in. Where cgroup2 isn't
 * mounted in sight, it is for us alone, in no folder.
 */
int hook_root_cgroup(void);
/* hook_netns - the number of this network namespace, as programs of sockets see it */
int hook_netns(uint64_t *cookie, struct err *e);
/* hook_sockets - one program to the sockets of the machine, unless *link is there; an older one of
 * ours, pinned as pin/name, is replaced in one step. hook_sockets_close() leaves what is pinned.
 */
int hook_sockets(const char *pin, const char *name, enum bpf_attach_type type, int prog, int *link, struct err *e);
void hook_sockets_close(int *link);
void hook_sockets_leave(const char *pin, const char *name, int *link);

/* ---- pin.c ---- */
/* pin_dir - make it, on a BPF file system; -errno and why not */
int pin_dir(const char *dir, struct err *e);
/* pin_one - put the object of that fd at dir/name unless it is there already */
int pin_one(const char *dir, const char *name, int fd, bool prog);
void pin_remove(const char *dir, const char *const *names, unsigned int n);

/* ---- dataplane.c: the BPF programs, where they hang ---- */
struct dataplane;

/* dp_open - attach to the interface, or take over what an earlier agent left
 * there, its maps with all that is in them. Nothing is detached on close.
 */
int dp_open(const char *interface, enum attach attach, bool meter, const char *pin, struct dataplane **dp, struct err *e);
/* dp_look - at what is attached, and change nothing; -ENOENT: nothing of ours is */
int dp_look(const char *interface, struct dataplane **dp, struct err *e);
void dp_close(struct dataplane *dp);
/* dp_remove - detach and unpin; before dp_close() */
void dp_remove(struct dataplane *dp, const char *pin);
/* dp_facts - what is attached, for people */
struct dp_facts;
void dp_facts(const struct dataplane *dp, struct dp_facts *facts);
int dp_mtu(const struct dataplane *dp);

/* ---- maps.c: what its maps hold ---- */
int dp_muxes_get(struct dataplane *dp, struct prefix **muxes, unsigned int *n);
int dp_served_get(struct dataplane *dp, struct decap_key **keys, unsigned int *n);
int dp_served_find(struct dataplane *dp, const struct decap_key *key, struct decap_served *value);
/* dp_muxes_set, dp_served_add and dp_served_keep - make the map hold these keys;
 * equal ones are not touched, their counters go on. *changed counts what was
 * added or removed. dp_served_add() fills in the index of each value;
 * rules[i] is looked at if its value has DECAP_RULES.
 */
int dp_muxes_set(struct dataplane *dp, const struct prefix *muxes, unsigned int n, unsigned int *changed, struct err *e);
int dp_served_add(struct dataplane *dp, const struct decap_key *keys, struct decap_served *values,
		  const struct decap_rules *const *rules, unsigned int n, unsigned int *changed, struct err *e);
int dp_served_keep(struct dataplane *dp, const struct decap_key *keys, unsigned int n, unsigned int *changed, struct err *e);
/* dp_sources_set - the prefixes that clients may have */
int dp_sources_set(struct dataplane *dp, const struct prefix *prefixes, unsigned int n, struct err *e);
int dp_settings_set(struct dataplane *dp, const struct decap_settings *settings, struct err *e);

/* dp_choice_set - the table of a pair delivered to several targets, replaced at once */
int dp_choice_set(struct dataplane *dp, uint16_t index, const uint32_t *targets, uint32_t buckets, struct err *e);
void dp_choice_drop(struct dataplane *dp, uint16_t index);
/* dp_local_number - the number of a target; kept until dp_locals_keep() leaves it out */
int dp_local_number(struct dataplane *dp, const struct decap_local *local, uint32_t *number);
bool dp_local_find(struct dataplane *dp, const struct decap_local *local, uint32_t *number);
void dp_locals_keep(struct dataplane *dp, const struct decap_local *locals, unsigned int n);

struct rack {
	struct prefix prefix;
	char name[RACK_NAME];		/* zero-filled */
};

int dp_racks_set(struct dataplane *dp, const struct rack *racks, unsigned int n, struct err *e);
/* dp_racks_get - names by number, "" where there is none; *names malloc'd */
int dp_racks_get(struct dataplane *dp, char (**names)[RACK_NAME], unsigned int *n);

struct meter_row {
	uint16_t index, rack;
	struct decap_meter sum;
};

int dp_meters_get(struct dataplane *dp, struct meter_row **rows, unsigned int *n);
int dp_reason(struct dataplane *dp, enum decap_reason reason, uint64_t *n);
const char *dp_reason_name(enum decap_reason reason);
/* dp_before - what a setting of the host was before an agent changed it; the first word counts */
void dp_before_set(struct dataplane *dp, const char *name, const char *value);
bool dp_before_get(struct dataplane *dp, const char *name, char value[DECAP_VALUE]);
int dp_meta_get(struct dataplane *dp, struct decap_meta *meta);
int dp_meta_set(struct dataplane *dp, const struct decap_meta *meta);
bool dp_health_get(struct dataplane *dp, const struct decap_health_key *key, struct decap_health *health);
/* dp_health_set - NULL: forget */
void dp_health_set(struct dataplane *dp, const struct decap_health_key *key, const struct decap_health *health);

/* ---- lo.c: the VIPs on lo; *changed counts ---- */
struct nl_sock;

int lo_open(struct nl_sock **s, struct err *e);
void lo_close(struct nl_sock *s);
int lo_add(struct nl_sock *s, const struct addr *vip, unsigned int *changed, struct err *e);
int lo_del(struct nl_sock *s, const struct addr *vip, unsigned int *changed, struct err *e);

/* ---- desired.c: what the controller asks for, read and checked ---- */
struct local_def {
	struct addr address;
	uint16_t weight;
	uint32_t number;		/* in marks; the helper fills it in */
	bool down;			/* a check says so; the agent fills it in */
};

struct pair_def {
	struct decap_key key;
	enum decap_delivery delivery;
	const struct local_def *locals;
	const struct delivery_port *ports;
	struct vip *rules;		/* as muxes have them, owned; NULL: not told */
	struct decap_rules *accepts;	/* owned; NULL: all */
	unsigned int n_locals, n_ports;
	unsigned int hash_key;		/* which of desired.keys the VIP's muxes choose by */
	bool keep;			/* they are SMuxes, which keep connections that another table would move */
	unsigned int snats;		/* SNAT ranges of its VIP */
};

/* Ports that outgoing connections of a VIP may have on this host. */
struct snat_def {
	struct addr vip;
	uint16_t first, last;
};

struct check_def;

struct desired {
	struct decap_meta meta;
	struct secret keys[DUET_KEYS];
	struct prefix *muxes;
	struct rack *racks;
	struct pair_def *pairs;
	struct local_def *locals;	/* of all pairs, one after the other */
	struct delivery_port *ports;
	struct check_def *checks;
	struct snat_def *snat;
	bool has_racks;			/* else they stay as they are */
	char racks_id[20];		/* what the controller calls this list of racks; "": nothing */
	struct prefix *excepts;		/* destinations that see the host's own address */
	bool has_ports;			/* the helper's: there is a check of a port */
	void *snat_blob;		/* the helper's: all that SNAT goes by; NULL: no SNAT */
	size_t snat_len;
	unsigned int n_muxes, n_racks, n_pairs, n_locals, n_ports, n_checks, n_snat, n_excepts;
};

/* desired_read - 0; or a sentence, and -EADDRNOTAVAIL, -E2BIG: not on this host, -ENOMEM, else -EINVAL */
int desired_read(json_t *body, struct desired *d, struct err *e);
/* host_has - packets to this address come to this host */
bool host_has(const struct addr *address);
void desired_free(struct desired *d);

/* ---- nft.c: NAT to targets, by the kernel's own ---- */
struct nft;

int nft_open(struct nft **nft, struct err *e);
void nft_close(struct nft *nft);
/* nft_apply - the table for these pairs, in one transaction; none left: no table */
int nft_apply(struct nft *nft, const struct pair_def *pairs, unsigned int n, struct err *e);
void nft_remove(struct nft *nft);
/* nft_works - can tables be listed? */
int nft_works(struct nft *nft, struct err *e);

/* ---- check.c: health checks ---- */
struct check_def {
	struct decap_key key;
	struct addr target;		/* behind this host; none: the VIP on lo */
	unsigned int rule;
	struct probe_conf probe;
};

struct checks;
struct commands;		/* commands.h */

/* changed(key): the state of a check of that pair did */
int checks_start(sd_event *loop, struct helper *helper, void (*changed)(const struct decap_key *key, void *ctx), void *ctx,
		 struct checks **checks);
void checks_stop(struct checks *checks);
/* checks_set - an equal check goes on with the state it has; *changed counts the others */
int checks_set(struct checks *checks, const struct check_def *defs, unsigned int n, unsigned int *changed);
/* commands_allowed - has the state only such checks as this host runs? Else a sentence */
int commands_allowed(const struct commands *commands, const struct desired *d, struct err *e);
json_t *commands_json(const struct commands *commands);
/* checks_json - those of one pair (NULL: of all); brief: as a report has them */
json_t *checks_json(const struct checks *checks, const struct decap_key *key, bool brief);
/* checks_hurry - a socket that listened was closed: ask after all services at once */
void checks_hurry(struct checks *checks);
/* checks_down - is a check of this target down? */
bool checks_down(const struct checks *checks, const struct decap_key *key, const struct addr *target);

/* ---- state.c: the agent, which faces the network ---- */
struct report;
struct usage;

struct host {
	struct conf conf;
	sd_event *loop;
	struct http_server *server;
	struct tls *tls;		/* NULL: no certificates */
	struct helper *helper;
	struct checks *checks;
	struct report *report;
	struct usage *usage;
	struct commands *commands;	/* NULL: checks by command are off */
	struct desired held;		/* what this process was told last; zeros: nothing yet */
	char failed[sizeof(((struct err *)0)->text)];	/* why the last state is not all made */
	unsigned int muxes_left_out;	/* that [host] mux-prefixes doesn't let it believe */
	bool synced;			/* this process was told its state */
	char racks_id[20];		/* of the racks it was told last */
};

void put_state(struct http_request *req, json_t *body, void *ctx);
void delete_fence(struct http_request *req, json_t *body, void *ctx);
/* state_health - a check of this pair changed: its second-level table follows */
void state_health(struct host *host, const struct decap_key *key);

/* ---- privileged.c: the helper's process ---- */
struct snat;			/* snat.h */
struct release;			/* release.h */

struct privileged {
	const struct conf *conf;
	sd_event *loop;
	struct dataplane *dp;
	struct fence fence;
	struct nl_sock *lo;
	struct nft *nft;
	struct snat *snat;
	struct release *release;
	struct desired made;		/* the state that was made last */
};

/* What making a state has changed. */
struct changed {
	unsigned int muxes, added, removed, addresses, checks, racks;
};

/* ---- apply.c ---- */
/* apply_state - make a state true; d->locals get their numbers */
int apply_state(struct privileged *p, struct desired *d, struct changed *c, struct err *e);
/* apply_down - a target's state changed: the second-level table of its pair follows */
void apply_down(struct privileged *p, const struct decap_key *key, const struct addr *target, bool down);

/* ---- fencing.c: which controller is obeyed ---- */
int fencing_open(struct privileged *p, struct err *e);
/* fencing_pass - may a state of this epoch and generation be made? It is the newest from now on. -ESTALE: older, -ERANGE: no
 * controller's, else the fence can't be kept: the state must not be made
 */
int fencing_pass(struct privileged *p, const struct decap_meta *asked, struct err *e);
int fencing_reset(struct privileged *p, struct decap_meta *was, struct err *e);
/* fencing_unfence - --unfence; an agent that runs needs not be stopped. fencing_forget: the file alone */
int fencing_unfence(const struct conf *conf, struct err *e);
void fencing_forget(const struct conf *conf);

/* ---- remove.c ---- */
/* state_remove - --uninstall: take everything away that agents made; false: nothing was there */
bool state_remove(const struct conf *conf);

/* ---- confine.c: the agent's process gives up what it doesn't need ---- */
/* confine_user - fills in the user where the configuration names none; -EINVAL: there is no such user, or it is root */
int confine_user(struct conf *conf, struct err *e);
/* confine - become [agent] user with no capabilities and no way to get any, and with a filter of system calls. Not to be
 * called when there are threads.
 */
int confine(const struct conf *conf, struct err *e);

/* ---- sysctl.c: settings of the interface ---- */
void sysctls_manage(struct dataplane *dp, const char *interface);
void sysctls_restore(struct dataplane *dp, const char *interface);

/* ---- show.c: status and metrics ---- */
extern const struct http_route host_routes[];
/* snat_json - what SNAT did */
json_t *snat_json(struct helper *helper);
/* totals - of the rows of one pair */
void totals(const struct meter_row *rows, unsigned int n, uint16_t index, struct decap_meter *sum);

/* ---- report.c: reports to the controller ---- */
int report_start(struct host *host, struct report **report);
void report_stop(struct report *report);
void report_now(struct report *report);
json_t *report_json(const struct report *report);

#endif
