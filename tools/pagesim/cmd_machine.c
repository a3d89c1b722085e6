/* SPDX-License-Identifier: MIT */
/*
 * pagesim machine: draw a machine, or list the ones that can be named. Everything shown is read from a machine built as
 * replay would build it, so what is drawn is what runs. Boxes and lines are drawn with the characters of the user's
 * character set: box drawing in UTF-8, plain ASCII elsewhere.
 */
#include <stdio.h>
#include <string.h>

#include <pagesim/machine_file.h>

#include "cmd.h"

#define WIDTH 96

struct pen {
	const char *line, *side, *top_left, *top_right, *bottom_left, *bottom_right, *down, *dot;
};

static const struct pen utf8_pen = { "─", "│", "┌", "┐", "└", "┘", "▼", "·" };
static const struct pen ascii_pen = { "-", "|", "+", "+", "+", "+", "v", "-" };

static void repeat(const char *text, int times)
{
	for (int i = 0; i < times; i++)
		fputs(text, stdout);
}

/* 16 GiB, 768 MiB, 64 KiB: the largest unit that divides it. */
static char *size_text(u64 bytes)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	unsigned u = 0;

	while (u < G_N_ELEMENTS(unit) - 1 && bytes && !(bytes & 1023)) {
		bytes >>= 10;
		u++;
	}
	/* A prime number of MiB is not what anybody wants to read of a large node. */
	if (bytes >= 10240 && u < G_N_ELEMENTS(unit) - 1)
		return g_strdup_printf("%.1f %s", (double)bytes / 1024, unit[u + 1]);
	return g_strdup_printf("%llu %s", (unsigned long long)bytes, unit[u]);
}

/* 13.1 us, 384 ns. */
static char *time_text(ps_ns_t ns)
{
	if (ns < 1000)
		return g_strdup_printf("%llu ns", (unsigned long long)ns);
	if (ns < 1000000)
		return g_strdup_printf("%.2f us", (double)ns / 1e3);
	return g_strdup_printf("%.2f ms", (double)ns / 1e6);
}

/* The CPUs of a node as Linux lists them: 0-3,8. */
static char *cpus_text(const struct ps_machine *m, nid_t nid)
{
	GString *text = g_string_new(NULL);

	for (unsigned c = 0; c < m->nr_cpus; c++) {
		unsigned last = c;

		if (m->cpus[c].node != nid)
			continue;
		while (last + 1 < m->nr_cpus && m->cpus[last + 1].node == nid)
			last++;
		g_string_append_printf(text, last > c ? "%s%u-%u" : "%s%u", text->len ? "," : "", c, last);
		c = last;
	}
	return g_string_free(text, FALSE);
}

static char *nodes_text(nodemask_t nodes)
{
	GString *text = g_string_new(NULL);
	nid_t nid;

	for_each_node_mask(nid, nodes) g_string_append_printf(text, "%s%d", text->len ? ", " : "", nid);
	return g_string_free(text, FALSE);
}

/* ---- the drawing ---- */

static void box_top(const struct pen *pen, const char *title)
{
	printf("  %s%s %s ", pen->top_left, pen->line, title);
	repeat(pen->line, WIDTH - 4 - (int)g_utf8_strlen(title, -1) - 3);
	printf("%s\n", pen->top_right);
}

static void box_line(const struct pen *pen, const char *text)
{
	printf("  %s  %s", pen->side, text);
	repeat(" ", WIDTH - 4 - 2 - (int)g_utf8_strlen(text, -1));
	printf("%s\n", pen->side);
}

static void box_bottom(const struct pen *pen)
{
	printf("  %s", pen->bottom_left);
	repeat(pen->line, WIDTH - 4);
	printf("%s\n", pen->bottom_right);
}

static void draw_node(const struct pen *pen, const struct ps_machine *m, const struct ps_node *node)
{
	char *size = node->present_pages ? size_text(node->present_pages << PAGE_SHIFT) : g_strdup("no memory");
	char *list = cpus_text(m, node->nid);
	char *cpus = *list ? g_strdup_printf("CPU%s %s", node->nr_cpus > 1 ? "s" : "", list) : g_strdup("no CPUs");
	char *targets = nodes_text(node->demotion_preferred);
	char *demotion = *targets ? g_strdup_printf("demotes to %s", targets) : g_strdup("");
	char *text = g_strdup_printf("node %-3d %10s  %-7s %-28s %s", node->nid, size,
				     node->present_pages ? ps_memory_kind_name(node->kind) : "", cpus, demotion);
	char *cut = g_utf8_substring(text, 0, MIN((long)WIDTH - 6, g_utf8_strlen(text, -1)));

	box_line(pen, cut);
	g_free(cut);
	g_free(text);
	g_free(demotion);
	g_free(targets);
	g_free(cpus);
	g_free(list);
	g_free(size);
}

static void draw_tiers(const struct pen *pen, const struct ps_machine *m)
{
	nid_t nid;

	for (unsigned t = 0; t < m->nr_tiers; t++) {
		const struct ps_tier *tier = &m->tiers[t];
		u32 first = tier->abstract_distance;
		char *title = g_strdup_printf("tier %u%s %s abstract distance %u..%u", t, tier->top ? ", top" : "",
					      pen->dot, first, first + MEMTIER_CHUNK_SIZE - 1);

		if (t)
			printf("%*s%s\n", 8, "", pen->down);
		box_top(pen, title);
		for_each_node_mask(nid, tier->nodes) draw_node(pen, m, &m->nodes[nid]);
		box_bottom(pen);
		g_free(title);
	}
	if (nodes_weight(m->memory_nodes) < m->nr_nodes) {
		box_top(pen, "without memory");
		for (nid = 0; nid < (nid_t)m->nr_nodes; nid++)
			if (!node_isset(nid, m->memory_nodes))
				draw_node(pen, m, &m->nodes[nid]);
		box_bottom(pen);
	}
	putchar('\n');
}

/* A cell of a table, freed by the caller; NULL = nothing to say. */
typedef char *(*cell_fn)(const struct ps_machine *m, unsigned from, unsigned to);

static char *distance_cell(const struct ps_machine *m, unsigned from, unsigned to)
{
	return g_strdup_printf("%u", m->spec->distance[from][to]);
}

static char *latency_cell(const struct ps_machine *m, unsigned from, unsigned to)
{
	u32 read = m->spec->read_latency[from][to], write = m->spec->write_latency[from][to];

	if (!m->nodes[from].nr_cpus || !m->nodes[to].present_pages)
		return NULL;
	return read == write ? g_strdup_printf("%u", read) : g_strdup_printf("%u/%u", read, write);
}

static char *bandwidth_cell(const struct ps_machine *m, unsigned from, unsigned to)
{
	double read = (double)m->spec->read_bandwidth[from][to] / 1e9;
	double write = (double)m->spec->write_bandwidth[from][to] / 1e9;

	if (!m->nodes[from].nr_cpus || !m->nodes[to].present_pages)
		return NULL;
	return read == write ? g_strdup_printf("%.1f", read) : g_strdup_printf("%.1f/%.1f", read, write);
}

/* Copying is done by a CPU of the node the page goes to, or the nearest there is. */
static char *copy_cell(const struct ps_machine *m, unsigned from, unsigned to)
{
	if (!m->nodes[from].present_pages || !m->nodes[to].present_pages)
		return NULL;
	return g_strdup_printf("%.2f", (double)ps_copy_rate(m, (nid_t)to, (nid_t)from, (nid_t)to) / 1e9);
}

/* As many columns as fit the width; more nodes make more tables. */
static void draw_table(const struct ps_machine *m, const char *title, const char *row, cell_fn cell)
{
	enum { COLUMNS = 6, CELL = 12 };
	bool pairs = false;

	for (unsigned first = 0; first < m->nr_nodes; first += COLUMNS) {
		unsigned last = MIN(first + COLUMNS, m->nr_nodes);

		printf("  %-18s", title);
		for (unsigned to = first; to < last; to++) {
			char *head = g_strdup_printf("node %u", to);

			printf("%*s", CELL, head);
			g_free(head);
		}
		putchar('\n');
		for (unsigned from = 0; from < m->nr_nodes; from++) {
			char *cells[COLUMNS] = { NULL };
			bool any = false;

			for (unsigned to = first; to < last; to++)
				any |= (cells[to - first] = cell(m, from, to)) != NULL;
			if (any) {
				char *head = g_strdup_printf("%s node %u", row, from);

				printf("    %-16s", head);
				g_free(head);
				for (unsigned to = first; to < last; to++) {
					const char *text = cells[to - first] ? cells[to - first] : "";

					pairs |= strchr(text, '/') != NULL;
					printf("%*s", CELL, text);
				}
				putchar('\n');
			}
			for (unsigned to = first; to < last; to++)
				g_free(cells[to - first]);
		}
		if (last == m->nr_nodes && pairs)
			printf("    (a/b: read a, write b)\n");
		putchar('\n');
	}
}

static void draw_tlb(const struct ps_machine *m)
{
	const struct ps_tlb_geometry *g = &m->cpus[0].tlb.geometry;
	char *huge = size_text(PAGE_SIZE << m->pt_bits);

	printf("  TLB of each CPU       entries    ways\n"
	       "    L1, 4 KiB pages  %10u %7u\n"
	       "    L1, %-12s %10u %7u\n"
	       "    L2, both         %10u %7u\n\n",
	       g->l1_small_entries, g->l1_small_ways, huge, g->l1_huge_entries, g->l1_huge_ways, g->l2_entries,
	       g->l2_ways);
	g_free(huge);
}

/* What the costs add up to: pages moved from the slowest-tier node to the first, by the formula of cost.h. */
static void draw_migration(const struct ps_machine *m)
{
	static const struct {
		const char *what;
		u64 pages;
		bool huge;
	} moves[] = { { "1 base page", 1, false },
		      { "512 base pages", 512, false },
		      { "1 huge page", 1, true },
		      { "16 huge pages", 16, true } };
	nid_t to = m->first_nid, from = m->first_nid, nid;

	/* The worst node there is: of the slowest tier, the one farthest from the first. */
	for_each_node_mask(nid, m->tiers[m->nr_tiers - 1].nodes) if (nid != to && (from == to ||
										   m->spec->distance[nid][to] >
											   m->spec->distance[from][to]))
		from = nid;
	if (from == to)
		printf("  Migration within node %d, nothing contended\n", to);
	else
		printf("  Migration from node %d to node %d, nothing contended\n", from, to);
	printf("    %-16s %14s %14s %10s %10s\n", "", "in all", "a page", "copying", "GB/s");
	for (size_t i = 0; i < G_N_ELEMENTS(moves); i++) {
		ps_ns_t copy, all = ps_migration_estimate(m, to, from, to, moves[i].pages, moves[i].huge, &copy);
		u64 bytes = moves[i].pages * PAGE_SIZE << (moves[i].huge ? m->pt_bits : 0);
		char *all_text = time_text(all), *page_text = time_text(all / moves[i].pages);

		printf("    %-16s %14s %14s %9.1f%% %10.3f\n", moves[i].what, all_text, page_text,
		       100.0 * (double)copy / (double)all, (double)bytes / (double)all);
		g_free(page_text);
		g_free(all_text);
	}
	putchar('\n');
}

static u32 cost_of(const struct ps_machine *m, const struct ps_cost_info *info)
{
	return *(const u32 *)(const void *)((const char *)&m->costs + info->offset);
}

static void draw_costs(const struct ps_machine *m)
{
	const struct ps_cost_info *info;

	printf("  Costs                         ns\n");
	for (unsigned i = 0; (info = ps_cost_info(i)); i++)
		printf("    %-18s %9u  %s\n", info->key, cost_of(m, info), info->what);
	printf("    %-18s %9.2f  GB/s one core copies\n", "copy-rate", (double)m->costs.copy_rate / 1e9);
	printf("    %-18s %9.2f  GB/s one core clears\n\n", "zero-rate", (double)m->costs.zero_rate / 1e9);
}

static void draw(const struct ps_machine *m, bool costs)
{
	const struct pen *pen = g_get_charset(NULL) ? &utf8_pen : &ascii_pen;
	char *memory = size_text(m->total_pages << PAGE_SHIFT), *huge = size_text(PAGE_SIZE << m->pt_bits);
	const char *s[] = { "s", "" };

	printf("\n  %s\n", m->spec->name);
	if (*m->spec->description)
		printf("  %s\n", m->spec->description);
	printf("\n  %s, %u node%s, %u CPU%s, %u memory tier%s; huge page %s = %lu pages\n\n", memory, m->nr_nodes,
	       s[m->nr_nodes == 1], m->nr_cpus, s[m->nr_cpus == 1], m->nr_tiers, s[m->nr_tiers == 1], huge,
	       1ul << m->pt_bits);
	draw_tiers(pen, m);
	draw_table(m, "Distance", "from", distance_cell);
	draw_table(m, "Latency, ns", "CPUs of", latency_cell);
	draw_table(m, "Bandwidth, GB/s", "CPUs of", bandwidth_cell);
	draw_table(m, "Copy, GB/s a core", "from", copy_cell);
	draw_tlb(m);
	draw_migration(m);
	if (costs)
		draw_costs(m);
	else
		printf("  Costs of single steps: --costs\n\n");
	g_free(huge);
	g_free(memory);
}

/* ---- JSON ---- */

static void json_string(const char *key, const char *value)
{
	printf("\"%s\": \"", key);
	for (const unsigned char *c = (const unsigned char *)value; *c; c++) {
		if (*c == '"' || *c == '\\')
			printf("\\%c", *c);
		else if (*c < 0x20)
			printf("\\u%04x", *c);
		else
			putchar(*c);
	}
	putchar('"');
}

/* What a matrix holds at a place. */
typedef unsigned long long (*number_fn)(const struct ps_machine_spec *spec, unsigned i, unsigned j);

static unsigned long long distance_of(const struct ps_machine_spec *spec, unsigned i, unsigned j)
{
	return spec->distance[i][j];
}

static unsigned long long read_latency_of(const struct ps_machine_spec *spec, unsigned i, unsigned j)
{
	return spec->read_latency[i][j];
}

static unsigned long long write_latency_of(const struct ps_machine_spec *spec, unsigned i, unsigned j)
{
	return spec->write_latency[i][j];
}

static unsigned long long read_bandwidth_of(const struct ps_machine_spec *spec, unsigned i, unsigned j)
{
	return spec->read_bandwidth[i][j];
}

static unsigned long long write_bandwidth_of(const struct ps_machine_spec *spec, unsigned i, unsigned j)
{
	return spec->write_bandwidth[i][j];
}

static void json_matrix(const struct ps_machine *m, const char *key, number_fn number)
{
	printf(",\n  \"%s\": [", key);
	for (unsigned i = 0; i < m->nr_nodes; i++) {
		printf("%s[", i ? ", " : "");
		for (unsigned j = 0; j < m->nr_nodes; j++)
			printf("%s%llu", j ? ", " : "", number(m->spec, i, j));
		printf("]");
	}
	printf("]");
}

static void print_json(const struct ps_machine *m)
{
	const struct ps_tlb_geometry *g = &m->cpus[0].tlb.geometry;
	const struct ps_cost_info *info;

	printf("{\n  \"schema\": \"pagesim-machine-1\",\n  ");
	json_string("name", m->spec->name);
	printf(",\n  ");
	json_string("description", m->spec->description);
	printf(",\n  \"page_bytes\": %lu,\n  \"huge_page_bytes\": %lu,\n  \"cpus\": %u,\n  \"nodes\": [", PAGE_SIZE,
	       PAGE_SIZE << m->pt_bits, m->nr_cpus);
	for (unsigned i = 0; i < m->nr_nodes; i++) {
		const struct ps_node *node = &m->nodes[i];
		char *cpus = cpus_text(m, (nid_t)i), *demotion = nodes_text(node->demotion_preferred);

		printf("%s\n    {\"node\": %u, \"bytes\": %llu, \"kind\": \"%s\", \"cpus\": \"%s\", \"first_pfn\": "
		       "%llu, "
		       "\"abstract_distance\": %u, \"tier\": %d, \"top_tier\": %s, \"demotes_to\": [%s]}",
		       i ? "," : "", i, (unsigned long long)node->present_pages << PAGE_SHIFT,
		       ps_memory_kind_name(node->kind), cpus, (unsigned long long)node->start_pfn,
		       node->abstract_distance, node->tier,
		       node->tier < 0 || m->tiers[node->tier].top ? "true" : "false", demotion);
		g_free(demotion);
		g_free(cpus);
	}
	printf("\n  ]");
	json_matrix(m, "distance", distance_of);
	json_matrix(m, "read_latency_ns", read_latency_of);
	json_matrix(m, "write_latency_ns", write_latency_of);
	json_matrix(m, "read_bandwidth_bytes_per_s", read_bandwidth_of);
	json_matrix(m, "write_bandwidth_bytes_per_s", write_bandwidth_of);
	printf(",\n  \"tlb\": {\"l1_small\": [%u, %u], \"l1_huge\": [%u, %u], \"l2\": [%u, %u]},\n  \"costs_ns\": {",
	       g->l1_small_entries, g->l1_small_ways, g->l1_huge_entries, g->l1_huge_ways, g->l2_entries, g->l2_ways);
	for (unsigned i = 0; (info = ps_cost_info(i)); i++)
		printf("%s\n    \"%s\": %u", i ? "," : "", info->key, cost_of(m, info));
	printf("\n  },\n  \"copy_rate_bytes_per_s\": %llu,\n  \"zero_rate_bytes_per_s\": %llu\n}\n",
	       (unsigned long long)m->costs.copy_rate, (unsigned long long)m->costs.zero_rate);
}

/* ---- the command ---- */

static int list(const char *const *dirs)
{
	char **names = ps_machine_names(dirs);
	int status = CMD_OK;

	for (char **name = names; *name; name++) {
		GError *error = NULL;
		struct ps_machine_spec *spec = ps_machine_spec_load(*name, dirs, &error);

		if (spec) {
			printf("  %-16s %s%s\n", *name, spec->description,
			       strcmp(*name, PS_MACHINE_DEFAULT) ? "" : " (default of replay)");
		} else {
			status = cmd_fail("%s", error->message);
			g_error_free(error);
		}
		ps_machine_spec_free(spec);
	}
	g_strfreev(names);
	return status;
}

int cmd_machine(int argc, char **argv)
{
	gboolean list_them = FALSE, costs = FALSE;
	char *format = NULL;
	char **dirs = NULL;
	const GOptionEntry options[] = {
		{ "list", 'l', 0, G_OPTION_ARG_NONE, &list_them, "List the machines that can be named", NULL },
		{ "costs", 'c', 0, G_OPTION_ARG_NONE, &costs, "Show what every single step costs", NULL },
		{ "format", 'f', 0, G_OPTION_ARG_STRING, &format, "table (default) or json", "FORMAT" },
		{ "directory", 'd', 0, G_OPTION_ARG_FILENAME_ARRAY, &dirs,
		  "Look for NAME.ini in DIR first; may be repeated", "DIR" },
		{ 0 },
	};
	struct ps_machine *machine = NULL;
	GError *error = NULL;
	int status;

	if (!cmd_parse(&argc, &argv, options, "[NAME|FILE|STRING|host][,NODE=SIZE...]",
		       "Draw a machine: nodes, CPUs, memory tiers, distances, latency, bandwidth, TLBs and what "
		       "migration\n"
		       "costs on it. NAME is one of those listed without an argument; FILE a machine file (.ini) or a "
		       "topology\n"
		       "exported by lstopo (.xml); STRING a synthetic topology of hwloc (\"pack:2 [numa] core:4 "
		       "pu:1\"); host\n"
		       "this computer. NODE=SIZE changes the memory of a node: dram-cxl,0=64M.",
		       &status))
		return status;
	if (argc > 2) {
		status = cmd_misused("one machine at a time, found '%s' and '%s'", argv[1], argv[2]);
	} else if (format && strcmp(format, "table") && strcmp(format, "json")) {
		status = cmd_misused("unknown format '%s', expected table or json", format);
	} else if (list_them && argc == 2) {
		status = cmd_misused("--list takes no machine, found '%s'", argv[1]);
	} else if (argc < 2) {
		status = list((const char *const *)dirs);
	} else {
		machine = ps_machine_load(argv[1], (const char *const *)dirs, &error);
		if (!machine) {
			status = cmd_fail("%s", error->message);
			g_error_free(error);
		} else {
			status = CMD_OK;
			if (format && !strcmp(format, "json"))
				print_json(machine);
			else
				draw(machine, costs);
		}
	}
	ps_machine_free(machine);
	g_strfreev(dirs);
	g_free(format);
	return status;
}
