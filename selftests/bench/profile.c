// SPDX-License-Identifier: GPL-2.0
/*
 * A QEMU plugin: how often each piece of kernel code ran between two marks, or
 * who wrote which cache line.
 *
 * Debian's QEMU loads plugins but ships no header for them, so the few
 * declarations that we need of the plugin API (version 1) are below.
 *
 * The guest sets a mark by running an instruction that does nothing: a NOP
 * whose operand's displacement says which (bed.py). Until the first one, code
 * is not instrumented and runs at full speed.
 *
 *  MARK_PROFILE  count from here
 *  MARK_STORES   note stores from here; DIR/watch.txt has three hexadecimal
 *		  addresses: HOOK FIRST LAST. What a CPU runs from the entry of
 *		  the function at HOOK until control is in [FIRST, LAST) counts.
 *  MARK_END      write DIR/profile-N.txt, a line for each translation block
 *		  that ran (address, instructions, executions), or
 *		  DIR/stores-N.txt, a line for each cache line written (address,
 *		  then CPU:store:times of each CPU that did)
 *
 *	-plugin out/bench/profile.so,dir=DIR
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t qemu_plugin_id_t;
typedef uint32_t qemu_plugin_meminfo_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_info;
enum { CB_NO_REGS = 0, INLINE_ADD_U64 = 0, MEM_W = 2 };

void qemu_plugin_reset(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t id));
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
		void (*cb)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
		void (*cb)(unsigned int cpu, void *data), int flags, void *data);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op,
		void *ptr, uint64_t imm);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn,
		void (*cb)(unsigned int cpu, qemu_plugin_meminfo_t info,
			   uint64_t vaddr, void *data),
		int flags, int rw, void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
bool qemu_plugin_mem_is_store(qemu_plugin_meminfo_t info);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

#define KERNEL	0xffffffff80000000ull	/* text of the kernel and its modules */
#define MARK_PROFILE	0x64756574u
#define MARK_STORES	0x64756575u
#define MARK_END	0x64756576u
#define BLOCKS	(1u << 20)
#define LINES	(1u << 16)
#define CPUS	8

/* Keyed by address and length: a block may be translated again, or end earlier. */
struct block {
	uint64_t vaddr, insns, runs;
};

struct line {
	uint64_t line;
	uint64_t pc[CPUS];	/* of a store, 0: this CPU wrote none */
	uint64_t stores[CPUS];
};

static struct block blocks[BLOCKS];
static struct line lines[LINES];
static bool below[CPUS];
static uint64_t hook, first, last;
static const char *dir = ".";
static unsigned int results;
static uint32_t mode;		/* the last mark */
static uint32_t made;		/* what code is translated for: a mark, or 0 */
static qemu_plugin_id_t plugin;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t mixed(uint64_t key)
{
	return key * 0x9e3779b97f4a7c15ull >> 32;
}

static struct block *block_of(uint64_t vaddr, uint64_t insns)
{
	uint64_t i = mixed(vaddr + insns);

	for (;; i++) {
		struct block *b = &blocks[i % BLOCKS];

		if (!b->vaddr) {
			b->vaddr = vaddr;
			b->insns = insns;
		}
		if (b->vaddr == vaddr && b->insns == insns)
			return b;
	}
}

static FILE *result(const char *what)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s-%u.txt", dir, what, ++results);
	f = fopen(path, "w");
	if (!f)
		perror(path);
	return f;
}

static void write_blocks(void)
{
	FILE *f = result("profile");
	uint32_t i;

	for (i = 0; f && i < BLOCKS; i++)
		if (blocks[i].runs)
			fprintf(f, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
				blocks[i].vaddr, blocks[i].insns, blocks[i].runs);
	if (f)
		fclose(f);
}

static void write_lines(void)
{
	FILE *f = result("stores");
	uint32_t i, cpu;

	for (i = 0; f && i < LINES; i++) {
		if (!lines[i].line)
			continue;
		fprintf(f, "%" PRIx64, lines[i].line << 6);
		for (cpu = 0; cpu < CPUS; cpu++)
			if (lines[i].stores[cpu])
				fprintf(f, " %u:%" PRIx64 ":%" PRIu64, cpu,
					lines[i].pc[cpu], lines[i].stores[cpu]);
		fputc('\n', f);
	}
	if (f)
		fclose(f);
}

static void on_block(unsigned int cpu, void *data)
{
	uint64_t vaddr = (uint64_t)(uintptr_t)data;

	if (vaddr == hook)
		below[cpu % CPUS] = true;
	else if (vaddr >= first && vaddr < last)
		below[cpu % CPUS] = false;
}

static void on_store(unsigned int cpu, qemu_plugin_meminfo_t info,
		     uint64_t vaddr, void *data)
{
	uint64_t key = vaddr >> 6, i = mixed(key), n;

	cpu %= CPUS;
	/* QEMU 7.2 calls for loads too, whatever was asked for */
	if (mode != MARK_STORES || !below[cpu] || !qemu_plugin_mem_is_store(info))
		return;
	pthread_mutex_lock(&lock);
	for (n = 0; n < LINES; n++, i++) {
		struct line *l = &lines[i % LINES];

		if (!l->line)
			l->line = key;
		if (l->line == key) {
			l->pc[cpu] = (uint64_t)(uintptr_t)data;
			l->stores[cpu]++;
			break;
		}
	}
	pthread_mutex_unlock(&lock);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb);

static void start(qemu_plugin_id_t id)
{
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
}

static void on_mark(unsigned int cpu, void *data)
{
	uint32_t mark = (uint32_t)(uintptr_t)data, need, i;
	char path[4096];
	bool again;
	FILE *f;

	pthread_mutex_lock(&lock);
	if (mark == MARK_END && mode == MARK_PROFILE)
		write_blocks();
	else if (mark == MARK_END && mode == MARK_STORES)
		write_lines();
	for (i = 0; i < BLOCKS; i++)
		blocks[i].runs = 0;
	memset(lines, 0, sizeof(lines));
	memset(below, 0, sizeof(below));
	mode = mark;
	/* QEMU 7.2 may die when code that tells of stores is translated anew with two CPUs at work: it is made once, and stays */
	need = mark != MARK_END ? mark : made == MARK_STORES ? made : 0;
	again = made != need;
	made = need;
	if (mode == MARK_STORES) {
		snprintf(path, sizeof(path), "%s/watch.txt", dir);
		f = fopen(path, "r");
		if (!f || fscanf(f, "%" SCNx64 " %" SCNx64 " %" SCNx64,
				 &hook, &first, &last) != 3)
			fprintf(stderr, "profile: no addresses in %s\n", path);
		if (f)
			fclose(f);
	}
	pthread_mutex_unlock(&lock);
	/* all code is translated anew, with what this mode counts */
	if (again)
		qemu_plugin_reset(plugin, start);
}

/* find_mark - a block of user space; nopl disp32(%rax) is 0f 1f 80 and disp32 */
static void find_mark(struct qemu_plugin_tb *tb)
{
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint8_t *data = qemu_plugin_insn_data(insn);
		uint32_t mark;

		if (qemu_plugin_insn_size(insn) != 7 || memcmp(data, "\x0f\x1f\x80", 3))
			continue;
		memcpy(&mark, data + 3, sizeof(mark));
		if (mark >= MARK_PROFILE && mark <= MARK_END)
			qemu_plugin_register_vcpu_tb_exec_cb(tb, on_mark, CB_NO_REGS,
							     (void *)(uintptr_t)mark);
	}
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t vaddr = qemu_plugin_tb_vaddr(tb);
	size_t i, n = qemu_plugin_tb_n_insns(tb);

	if (vaddr < KERNEL) {
		find_mark(tb);
	} else if (made == MARK_PROFILE) {
		pthread_mutex_lock(&lock);
		qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64,
							 &block_of(vaddr, n)->runs, 1);
		pthread_mutex_unlock(&lock);
	} else if (made == MARK_STORES) {
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, CB_NO_REGS,
						     (void *)(uintptr_t)vaddr);
		for (i = 0; i < n; i++) {
			struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

			qemu_plugin_register_vcpu_mem_cb(insn, on_store, CB_NO_REGS, MEM_W,
					(void *)(uintptr_t)qemu_plugin_insn_vaddr(insn));
		}
	}
}

__attribute__((visibility("default")))
int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
			int argc, char **argv)
{
	int i;

	for (i = 0; i < argc; i++) {
		if (strncmp(argv[i], "dir=", 4)) {
			fprintf(stderr, "profile: what is '%s'?\n", argv[i]);
			return -1;
		}
		dir = argv[i] + 4;
	}
	plugin = id;
	start(id);
	return 0;
}
