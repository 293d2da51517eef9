// SPDX-License-Identifier: GPL-2.0
/* One assignment in full, as JSON: places, TIPs, loads. What tests check by other means. */
#include "sim.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

static json_t *tips_json(const struct fabric *f, const struct engine_vip *v,
			 const struct engine_choice *c)
{
	json_t *list = json_array();
	unsigned int i, k;

	for (i = 0; i < c->n_tips; i++) {
		json_t *racks = json_object();

		for (k = 0; k < c->tips[i].n_dips; k++) {
			const char *rack = f->names[v->dip_node[c->tips[i].dips[k]]];
			json_int_t n = json_integer_value(json_object_get(racks, rack));

			json_object_set_new(racks, rack, json_integer(n + 1));
		}
		json_array_append_new(list, json_pack("{s:s, s:o}", "mux", f->names[c->tips[i].mux],
						      "dips", racks));
	}
	return list;
}

int assign_json(const struct sim *s, FILE *out, struct err *e)
{
	const struct fabric *f = &s->fabric;
	json_t *all, *vips = json_array(), *links = json_array();
	struct engine_choice *c = NULL;
	struct engine *engine = NULL;
	struct engine_load load;
	struct workload w;
	unsigned int i;
	int ret = sim_workload(s, 0, &w, e);

	if (ret)
		goto out;
	ret = sim_assign(&w, &s->options, &engine, &c);
	if (!ret)
		ret = engine_load_get(engine, &load);
	if (ret)
		goto out_workload;
	for (i = 0; i < w.model.n_vips; i++)
		json_array_append_new(vips, json_pack("{s:s, s:s, s:f, s:o}", "vip", w.model.vips[i].vip,
						      "mux", c[i].mux < 0 ? "smux" : f->names[c[i].mux],
						      "mru", c[i].mru, "tips",
						      tips_json(f, &w.model.vips[i], &c[i])));
	for (i = 0; i < f->n_links; i++)
		json_array_append_new(links, json_pack("{s:s, s:s, s:f, s:f, s:f}", "a",
						       f->names[f->links[i].a], "b",
						       f->names[f->links[i].b], "mbps",
						       f->links[i].mbps, "ab", load.link[0][i], "ba",
						       load.link[1][i]));
	engine_load_free(&load);
	all = json_pack("{s:f, s:O, s:O}", "share_on_switches", on_switches(&w.model, c), "vips", vips,
			"links", links);
	json_dumpf(all, out, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
	fputc('\n', out);
	json_decref(all);
	engine_free(engine);
	free(c);
out_workload:
	workload_free(&w);
out:
	json_decref(vips);
	json_decref(links);
	return ret;
}
