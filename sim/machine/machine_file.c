/* SPDX-License-Identifier: MIT */
/*
 * Readers of machine descriptions. A key file is read group by group into the spec; a topology (by name in a key file,
 * or alone) is read through hwloc: nodes, their CPUs, distances, and latency and bandwidth where the firmware told.
 * Whatever is wrong is said with its place, what was expected and what was found.
 *
 * Which node a CPU belongs to: of the nodes hwloc says are local to it, the one local to the fewest CPUs, of several the
 * first. Memory that is local to a CPU by distance only (CXL, HBM beside DRAM) becomes a node without CPUs that way.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hwloc.h>

#include <pagesim/alloc.h>
#include <pagesim/machine_file.h>

#include "machine/machine_config.h"

G_DEFINE_QUARK(ps - machine - error - quark, ps_machine_error)

static struct ps_machine_spec *spec_new(const char *name, GError **error)
{
	struct ps_machine_spec *spec = (struct ps_machine_spec *)ps_alloc(sizeof(*spec));

	if (!spec) {
		g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_MEMORY, "%s: out of memory", name);
		return NULL;
	}
	ps_machine_spec_init(spec);
	g_strlcpy(spec->name, name, sizeof(spec->name));
	return spec;
}

void ps_machine_spec_free(struct ps_machine_spec *spec)
{
	ps_free(spec);
}

/* The last step of every source. Takes @spec: gives it back good, or frees it. */
static struct ps_machine_spec *spec_checked(struct ps_machine_spec *spec, const char *where, GError **error)
{
	char why[256];

	if (!ps_machine_spec_check(spec, why, sizeof(why)))
		return spec;
	g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_IMPOSSIBLE, "%s: impossible machine: %s", where, why);
	ps_machine_spec_free(spec);
	return NULL;
}

/* ---- numbers ---- */

/*
 * A whole number with an optional suffix K M G T P, each @base times the one before. @base 0 = no suffix allowed.
 * Return: whether it is one; @ret untouched otherwise.
 */
static bool parse_number(const char *text, u64 base, u64 *ret)
{
	static const char suffixes[] = "KMGTP";
	const char *at;
	u64 value, unit = 1;
	char *end;

	if (!g_ascii_isdigit(text[0]))
		return false;
	errno = 0;
	value = g_ascii_strtoull(text, &end, 10);
	if (errno)
		return false;
	if (*end && base) {
		at = strchr(suffixes, g_ascii_toupper(*end));
		if (!at)
			return false;
		for (const char *s = suffixes; s <= at; s++)
			unit *= base;
		end++;
	}
	if (*end || (value && unit > UINT64_MAX / value))
		return false;
	*ret = value * unit;
	return true;
}

/* ---- hwloc ---- */

static enum ps_memory_kind kind_of_subtype(const char *subtype)
{
	if (!subtype)
		return PS_MEMORY_DRAM;
	if (!g_ascii_strcasecmp(subtype, "HBM") || !g_ascii_strcasecmp(subtype, "MCDRAM"))
		return PS_MEMORY_HBM;
	if (!g_ascii_strcasecmp(subtype, "NVM"))
		return PS_MEMORY_OPTANE;
	if (!g_ascii_strncasecmp(subtype, "CXL", 3))
		return PS_MEMORY_CXL;
	return PS_MEMORY_DRAM;
}

static void read_distances(struct ps_machine_spec *spec, hwloc_topology_t topology)
{
	struct hwloc_distances_s *d = NULL;
	unsigned nr = 1;

	if (hwloc_distances_get_by_type(topology, HWLOC_OBJ_NUMANODE, &nr, &d, HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0) ||
	    !nr)
		return;
	if (d->nbobjs == spec->nr_nodes)
		for (unsigned i = 0; i < d->nbobjs; i++)
			for (unsigned j = 0; j < d->nbobjs; j++)
				spec->distance[d->objs[i]->logical_index][d->objs[j]->logical_index] =
					(u8)ps_min(d->values[i * d->nbobjs + j], (hwloc_uint64_t)255);
	hwloc_distances_release(topology, d);
}

/* Latency in ns, bandwidth in MiB/s: what hwloc gives. */
static void read_memattrs(struct ps_machine_spec *spec, hwloc_topology_t topology)
{
	for (unsigned c = 0; c < spec->nr_cpus; c++) {
		hwloc_obj_t pu = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, c);
		struct hwloc_location from;
		int i = spec->cpu_node[c];

		memset(&from, 0, sizeof(from));
		from.type = HWLOC_LOCATION_TYPE_CPUSET;
		from.location.cpuset = pu->cpuset;
		for (unsigned j = 0; j < spec->nr_nodes; j++) {
			hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, j);
			hwloc_uint64_t value;

			if (!spec->read_latency[i][j] &&
			    !hwloc_memattr_get_value(topology, HWLOC_MEMATTR_ID_LATENCY, node, &from, 0, &value))
				spec->read_latency[i][j] = (u32)ps_min(value, (hwloc_uint64_t)UINT32_MAX);
			if (!spec->read_bandwidth[i][j] &&
			    !hwloc_memattr_get_value(topology, HWLOC_MEMATTR_ID_BANDWIDTH, node, &from, 0, &value))
				spec->read_bandwidth[i][j] = value << 20;
		}
	}
}

/* Nodes, CPUs and what is known between them, from a loaded topology. */
static bool spec_of_topology(struct ps_machine_spec *spec, hwloc_topology_t topology, const char *where, GError **error)
{
	int nodes = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE);
	int cpus = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_PU);
	u64 block = PAGE_SIZE << (spec->pt_bits ? spec->pt_bits : 9);

	if (nodes < 1 || nodes > MAX_NUMNODES || cpus < 1 || cpus > PS_MAX_CPUS) {
		g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_IMPOSSIBLE,
			    "%s: impossible machine: expected 1 .. %d nodes and 1 .. %d CPUs, found %d and %d", where,
			    MAX_NUMNODES, PS_MAX_CPUS, nodes, cpus);
		return false;
	}
	spec->nr_nodes = (unsigned)nodes;
	spec->nr_cpus = (unsigned)cpus;
	for (unsigned i = 0; i < spec->nr_nodes; i++) {
		hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);

		spec->node[i].bytes = node->attr->numanode.local_memory / block * block;
		spec->node[i].kind = kind_of_subtype(node->subtype);
	}
	for (unsigned c = 0; c < spec->nr_cpus; c++) {
		hwloc_obj_t pu = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PU, c);
		int best = -1, best_weight = 0;

		for (unsigned i = 0; i < spec->nr_nodes; i++) {
			hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);
			int weight = hwloc_bitmap_weight(node->cpuset);

			if (!hwloc_bitmap_isset(node->cpuset, pu->os_index) || (best >= 0 && weight >= best_weight))
				continue;
			best = (int)i;
			best_weight = weight;
		}
		spec->cpu_node[c] = (s16)best;
	}
	read_distances(spec, topology);
	read_memattrs(spec, topology);
	return true;
}

enum topology_source {
	TOPOLOGY_STRING,
	TOPOLOGY_XML,
	TOPOLOGY_HOST,
};

/* Load a topology into @spec. */
static bool read_topology(struct ps_machine_spec *spec, enum topology_source source, const char *text,
			  const char *where, GError **error)
{
	hwloc_topology_t topology;
	bool good = false;
	int failed = 0;

	if (source == TOPOLOGY_XML && !g_file_test(text, G_FILE_TEST_IS_REGULAR)) {
		g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_NOT_FOUND, "%s: no such file", text);
		return false;
	}
	if (hwloc_topology_init(&topology)) {
		g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_MEMORY, "%s: out of memory", where);
		return false;
	}
	if (source == TOPOLOGY_STRING)
		failed = hwloc_topology_set_synthetic(topology, text);
	else if (source == TOPOLOGY_XML)
		failed = hwloc_topology_set_xml(topology, text);
	if (failed || hwloc_topology_load(topology))
		g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX, "%s: expected %s, found \"%s\"", where,
			    source == TOPOLOGY_STRING
				    ? "a hwloc topology such as \"pack:2 [numa(memory=16GB)] core:4 pu:1\""
			    : source == TOPOLOGY_XML ? "a topology written by lstopo in XML"
						     : "a host hwloc can read",
			    text);
	else
		good = spec_of_topology(spec, topology, where, error);
	hwloc_topology_destroy(topology);
	return good;
}

static struct ps_machine_spec *from_topology(enum topology_source source, const char *text, const char *name,
					     const char *description, GError **error)
{
	struct ps_machine_spec *spec = spec_new(name, error);

	if (!spec)
		return NULL;
	g_strlcpy(spec->description, description, sizeof(spec->description));
	if (!read_topology(spec, source, text, name, error)) {
		ps_machine_spec_free(spec);
		return NULL;
	}
	ps_machine_spec_fill(spec);
	return spec_checked(spec, name, error);
}

struct ps_machine_spec *ps_machine_spec_from_string(const char *synthetic, GError **error)
{
	return from_topology(TOPOLOGY_STRING, synthetic, synthetic,
			     "hwloc topology; latency and bandwidth are invented from distance", error);
}

struct ps_machine_spec *ps_machine_spec_from_xml(const char *path, GError **error)
{
	return from_topology(TOPOLOGY_XML, path, path,
			     "exported by lstopo; latency and bandwidth from firmware, else invented from distance",
			     error);
}

struct ps_machine_spec *ps_machine_spec_from_host(GError **error)
{
	return from_topology(TOPOLOGY_HOST, "host", "host",
			     "this host; latency and bandwidth from firmware, else invented from distance", error);
}

/* ---- key files ---- */

struct reader {
	GKeyFile *file;
	const char *path;
	struct ps_machine_spec *spec;
	GError **error;
};

/* Says what is wrong with a key. Return: false, for the caller to return. */
__attribute__((format(printf, 5, 6))) static bool bad(struct reader *r, const char *group, const char *key,
						      const char *found, const char *expected, ...)
{
	va_list args;
	char *text;

	va_start(args, expected);
	text = g_strdup_vprintf(expected, args);
	va_end(args);
	if (key)
		g_set_error(r->error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX,
			    "%s: [%s] %s: expected %s, found \"%s\"", r->path, group, key, text, found);
	else
		g_set_error(r->error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX, "%s: [%s]: expected %s", r->path,
			    group, text);
	g_free(text);
	return false;
}

/* A value with blanks around it removed; NULL when the key is not there. Freed by the caller. */
static char *value_of(struct reader *r, const char *group, const char *key)
{
	char *text = g_key_file_get_value(r->file, group, key, NULL);

	return text ? g_strstrip(text) : NULL;
}

/* An optional number, lowest .. highest, with suffixes of @base. */
static bool read_number(struct reader *r, const char *group, const char *key, u64 base, u64 lowest, u64 highest,
			u64 *ret)
{
	char *text = value_of(r, group, key);
	bool good = true;

	if (!text)
		return true;
	if (!parse_number(text, base, ret) || *ret < lowest || *ret > highest)
		good = bad(r, group, key, text, "a whole number%s, %llu .. %llu",
			   base ? " (K, M, G, T may follow)" : "", (unsigned long long)lowest,
			   (unsigned long long)highest);
	g_free(text);
	return good;
}

/* A group may have these keys and no others. @known ends with NULL. */
static bool check_keys(struct reader *r, const char *group, const char *const *known)
{
	char **keys = g_key_file_get_keys(r->file, group, NULL, NULL);
	bool good = true;

	for (char **key = keys; good && key && *key; key++)
		if (!g_strv_contains(known, *key)) {
			char *list = g_strjoinv(", ", (char **)known);

			g_set_error(r->error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX,
				    "%s: [%s]: unknown key \"%s\"; expected one of: %s", r->path, group, *key, list);
			g_free(list);
			good = false;
		}
	g_strfreev(keys);
	return good;
}

static bool read_machine(struct reader *r)
{
	static const char *const known[] = { "description", "topology", "page-table-bits", "seed", NULL };
	struct ps_machine_spec *spec = r->spec;
	u64 bits = 0;
	char *text, *description, *where, *dir, *path = NULL;
	bool good, xml;

	if (!g_key_file_has_group(r->file, "machine"))
		return bad(r, "machine", NULL, "", "such a group; every machine file has one");
	if (!check_keys(r, "machine", known) || !read_number(r, "machine", "page-table-bits", 0, 2, 9, &bits) ||
	    !read_number(r, "machine", "seed", 0, 0, UINT64_MAX, &spec->seed))
		return false;
	spec->pt_bits = (unsigned)bits;
	description = value_of(r, "machine", "description");
	if (description)
		g_strlcpy(spec->description, description, sizeof(spec->description));
	g_free(description);
	text = value_of(r, "machine", "topology");
	if (!text)
		return true;
	xml = g_str_has_suffix(text, ".xml");
	if (xml && !g_path_is_absolute(text)) {
		dir = g_path_get_dirname(r->path);
		path = g_build_filename(dir, text, NULL);
		g_free(dir);
	}
	where = g_strdup_printf("%s: [machine] topology", r->path);
	good = read_topology(spec, xml ? TOPOLOGY_XML : TOPOLOGY_STRING, path ? path : text, where, r->error);
	/* A topology without figures of its own is filled by distance; a figure in the file replaces one. */
	if (good)
		ps_machine_spec_fill(spec);
	g_free(where);
	g_free(path);
	g_free(text);
	return good;
}

/* "0-3,8": adds node @nid to each CPU named; @owner notes who has which, -1 = nobody yet. */
static bool read_cpus(struct reader *r, const char *group, int nid, s16 *owner)
{
	char *text = value_of(r, group, "cpus");
	char **parts = NULL;
	bool good = true;

	if (text && *text)
		parts = g_strsplit(text, ",", -1);
	for (char **part = parts; good && part && *part; part++) {
		char *dash = strchr(g_strstrip(*part), '-');
		u64 first, last;

		if (dash)
			*dash = '\0';
		good = parse_number(*part, 0, &first) && parse_number(dash ? dash + 1 : *part, 0, &last) &&
		       first <= last && last < PS_MAX_CPUS;
		if (!good) {
			bad(r, group, "cpus", text, "a list of CPUs such as 0-3,8, each below %d", PS_MAX_CPUS);
			break;
		}
		for (u64 cpu = first; good && cpu <= last; cpu++) {
			if (owner[cpu] >= 0)
				good = bad(r, group, "cpus", text,
					   "CPUs of no other node, but CPU %llu is on node %d too",
					   (unsigned long long)cpu, owner[cpu]);
			owner[cpu] = (s16)nid;
		}
	}
	g_strfreev(parts);
	g_free(text);
	return good;
}

static bool read_kind(struct reader *r, const char *group, enum ps_memory_kind *ret)
{
	char *text = value_of(r, group, "kind");
	bool good = false;

	if (!text)
		return true;
	for (int k = 0; k < PS_NR_MEMORY_KINDS; k++)
		if (!strcmp(text, ps_memory_kind_name((enum ps_memory_kind)k))) {
			*ret = (enum ps_memory_kind)k;
			good = true;
		}
	if (!good)
		bad(r, group, "kind", text, "dram, hbm, cxl or optane");
	g_free(text);
	return good;
}

static bool read_nodes(struct reader *r)
{
	static const char *const known[] = { "size", "cpus", "kind", "abstract-distance", NULL };
	struct ps_machine_spec *spec = r->spec;
	bool topology = spec->nr_nodes > 0, named_cpus = false;
	s16 owner[PS_MAX_CPUS];
	char group[32];
	unsigned found = 0;

	memset(owner, -1, sizeof(owner));
	for (unsigned i = 0; i < MAX_NUMNODES; i++) {
		u64 distance = 0;

		g_snprintf(group, sizeof(group), "node %u", i);
		if (!g_key_file_has_group(r->file, group))
			continue;
		found++;
		if (topology && i >= spec->nr_nodes)
			return bad(r, group, NULL, "", "nodes 0 .. %u, those of the topology", spec->nr_nodes - 1);
		if (!topology && i != found - 1)
			return bad(r, group, NULL, "", "[node %u] before it; nodes are numbered from 0 without gaps",
				   found - 1);
		if (!check_keys(r, group, known) ||
		    !read_number(r, group, "size", 1024, 0, UINT64_MAX, &spec->node[i].bytes) ||
		    !read_number(r, group, "abstract-distance", 0, 1, 1 << 20, &distance) ||
		    !read_kind(r, group, &spec->node[i].kind) || !read_cpus(r, group, (int)i, owner))
			return false;
		if (distance)
			spec->node[i].abstract_distance = (u32)distance;
		if (g_key_file_has_key(r->file, group, "cpus", NULL))
			named_cpus = true;
	}
	if (!topology)
		spec->nr_nodes = found;
	if (topology && named_cpus)
		return bad(r, "machine", "topology", "both", "CPUs from the topology or from [node N] cpus");
	for (unsigned c = 0; !topology && c < PS_MAX_CPUS; c++) {
		if (owner[c] < 0)
			continue;
		if (c != spec->nr_cpus) {
			g_set_error(r->error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX,
				    "%s: [node %d] cpus: expected CPUs numbered from 0 without gaps, found CPU %u and "
				    "no CPU %u",
				    r->path, owner[c], c, spec->nr_cpus);
			return false;
		}
		spec->cpu_node[spec->nr_cpus++] = owner[c];
	}
	return true;
}

/* A matrix group: one row per node, as many numbers as there are nodes. @width: bytes of an element, 1, 4 or 8. */
static bool read_matrix(struct reader *r, const char *group, u64 base, u64 highest, void *matrix, size_t width)
{
	unsigned nodes = r->spec->nr_nodes;
	char **keys = g_key_file_get_keys(r->file, group, NULL, NULL);
	bool good = true;

	for (char **key = keys; good && key && *key; key++) {
		char *text = value_of(r, group, *key);
		char **parts = g_strsplit_set(text ? text : "", " \t;,", -1);
		unsigned column = 0;
		u64 row, value;

		if (!g_str_has_prefix(*key, "node ") || !parse_number(*key + 5, 0, &row) || row >= nodes) {
			g_set_error(r->error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX,
				    "%s: [%s]: unknown key \"%s\"; expected \"node N\", N = 0 .. %d", r->path, group,
				    *key, (int)nodes - 1);
			good = false;
		}
		for (char **part = parts; good && *part; part++) {
			if (!**part)
				continue;
			if (!parse_number(*part, base, &value) || value > highest) {
				good = bad(r, group, *key, *part, "whole numbers%s up to %llu",
					   base ? " (K, M, G, T may follow)" : "", (unsigned long long)highest);
			} else if (column < nodes) {
				size_t at = row * MAX_NUMNODES + column;

				if (width == 1)
					((u8 *)matrix)[at] = (u8)value;
				else if (width == 4)
					((u32 *)matrix)[at] = (u32)value;
				else
					((u64 *)matrix)[at] = value;
			}
			column++;
		}
		if (good && column != nodes)
			good = bad(r, group, *key, text, "%u numbers, one per node", nodes);
		g_strfreev(parts);
		g_free(text);
	}
	g_strfreev(keys);
	return good;
}

static bool read_distance(struct reader *r)
{
	struct ps_machine_spec *spec = r->spec;

	if (!g_key_file_has_group(r->file, "distance"))
		return true;
	if (!read_matrix(r, "distance", 0, 255, spec->distance, 1))
		return false;
	for (unsigned i = 0; i < spec->nr_nodes; i++) {
		char key[32];

		g_snprintf(key, sizeof(key), "node %u", i);
		if (!g_key_file_has_key(r->file, "distance", key, NULL))
			return bad(r, "distance", NULL, "", "a row \"%s\": the matrix has one for each of %u nodes",
				   key, spec->nr_nodes);
	}
	return true;
}

static bool read_level(struct reader *r, const char *key, u32 *ret_entries, u32 *ret_ways)
{
	char *text = value_of(r, "tlb", key), *slash;
	u64 entries, ways;
	bool good = true;

	if (!text)
		return bad(r, "tlb", NULL, "", "l1-small, l1-huge and l2, all three or no [tlb]; %s is missing", key);
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (!slash || !parse_number(text, 0, &entries) || !parse_number(slash + 1, 0, &ways) || entries > 1 << 20 ||
	    ways > 1 << 20) {
		if (slash)
			*slash = '/';
		good = bad(r, "tlb", key, text, "ENTRIES/WAYS such as 64/4");
	} else {
		*ret_entries = (u32)entries;
		*ret_ways = (u32)ways;
	}
	g_free(text);
	return good;
}

static bool read_tlb(struct reader *r)
{
	static const char *const known[] = { "l1-small", "l1-huge", "l2", NULL };
	struct ps_tlb_geometry *tlb = &r->spec->tlb;

	if (!g_key_file_has_group(r->file, "tlb"))
		return true;
	return check_keys(r, "tlb", known) && read_level(r, "l1-small", &tlb->l1_small_entries, &tlb->l1_small_ways) &&
	       read_level(r, "l1-huge", &tlb->l1_huge_entries, &tlb->l1_huge_ways) &&
	       read_level(r, "l2", &tlb->l2_entries, &tlb->l2_ways);
}

static bool read_costs(struct reader *r)
{
	const struct ps_cost_info *info;
	const char *known[64];
	unsigned n = 0;
	bool good;

	if (!g_key_file_has_group(r->file, "costs"))
		return true;
	for (unsigned i = 0; (info = ps_cost_info(i)); i++)
		known[n++] = info->key;
	known[n++] = "copy-rate";
	known[n++] = "zero-rate";
	known[n] = NULL;
	g_assert(n < G_N_ELEMENTS(known));
	good = check_keys(r, "costs", known) &&
	       read_number(r, "costs", "copy-rate", 1000, 1, UINT64_MAX, &r->spec->costs.copy_rate) &&
	       read_number(r, "costs", "zero-rate", 1000, 1, UINT64_MAX, &r->spec->costs.zero_rate);
	for (unsigned i = 0; good && (info = ps_cost_info(i)); i++) {
		u32 *field = (u32 *)(void *)((char *)&r->spec->costs + info->offset);
		u64 ns = *field;

		good = read_number(r, "costs", info->key, 0, 0, 1000000000, &ns);
		*field = (u32)ns;
	}
	return good;
}

static bool read_rest(struct reader *r)
{
	static const char *const zones[] = { "movable", NULL };
	static const char *const watermarks[] = { "min-free", "scale-factor", NULL };
	u64 movable = 0, scale = 0;

	if (g_key_file_has_group(r->file, "zones") &&
	    (!check_keys(r, "zones", zones) || !read_number(r, "zones", "movable", 0, 0, 100, &movable)))
		return false;
	if (g_key_file_has_group(r->file, "watermarks") &&
	    (!check_keys(r, "watermarks", watermarks) ||
	     !read_number(r, "watermarks", "min-free", 0, 0, UINT64_MAX >> 12, &r->spec->min_free_kbytes) ||
	     !read_number(r, "watermarks", "scale-factor", 0, 1, 1000, &scale)))
		return false;
	r->spec->movable_percent = (unsigned)movable;
	r->spec->watermark_scale_factor = (unsigned)scale;
	return true;
}

static bool check_groups(struct reader *r)
{
	static const char *const known[] = { "machine",
					     "distance",
					     "read-latency",
					     "write-latency",
					     "read-bandwidth",
					     "write-bandwidth",
					     "tlb",
					     "costs",
					     "zones",
					     "watermarks",
					     NULL };
	char **groups = g_key_file_get_groups(r->file, NULL);
	bool good = true;

	for (char **group = groups; good && *group; group++) {
		u64 nid;

		if (g_strv_contains(known, *group) ||
		    (g_str_has_prefix(*group, "node ") && parse_number(*group + 5, 0, &nid) && nid < MAX_NUMNODES))
			continue;
		g_set_error(
			r->error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX,
			"%s: unknown group [%s]; expected [machine], [node N] with N = 0 .. %d, [distance], "
			"[read-latency], "
			"[write-latency], [read-bandwidth], [write-bandwidth], [tlb], [costs], [zones] or [watermarks]",
			r->path, *group, MAX_NUMNODES - 1);
		good = false;
	}
	g_strfreev(groups);
	return good;
}

/* "traces/machines/tiny.ini" is called "tiny". */
static char *name_of_path(const char *path)
{
	char *name = g_path_get_basename(path);

	if (g_str_has_suffix(name, ".ini"))
		name[strlen(name) - 4] = '\0';
	return name;
}

struct ps_machine_spec *ps_machine_spec_from_file(const char *path, GError **error)
{
	struct reader r = { .path = path, .error = error };
	GError *cause = NULL;
	struct ps_machine_spec *spec;
	char *name;
	bool good;

	r.file = g_key_file_new();
	if (!g_key_file_load_from_file(r.file, path, G_KEY_FILE_NONE, &cause)) {
		g_set_error(error, PS_MACHINE_ERROR,
			    cause->domain == G_FILE_ERROR ? PS_MACHINE_ERROR_NOT_FOUND : PS_MACHINE_ERROR_SYNTAX,
			    "%s: expected a machine file: %s", path, cause->message);
		g_error_free(cause);
		g_key_file_free(r.file);
		return NULL;
	}
	name = name_of_path(path);
	spec = r.spec = spec_new(name, error);
	g_free(name);
	good = spec && check_groups(&r) && read_machine(&r) && read_nodes(&r) && read_distance(&r) &&
	       read_matrix(&r, "read-latency", 0, 1000000000, spec->read_latency, 4) &&
	       read_matrix(&r, "write-latency", 0, 1000000000, spec->write_latency, 4) &&
	       read_matrix(&r, "read-bandwidth", 1000, UINT64_MAX >> 16, spec->read_bandwidth, 8) &&
	       read_matrix(&r, "write-bandwidth", 1000, UINT64_MAX >> 16, spec->write_bandwidth, 8) && read_tlb(&r) &&
	       read_costs(&r) && read_rest(&r);
	g_key_file_free(r.file);
	if (!good) {
		ps_machine_spec_free(spec);
		return NULL;
	}
	return spec_checked(spec, path, error);
}

/* ---- by name ---- */

static const char *const built_in_dirs[] = { PS_MACHINE_SOURCE_DIR, PS_MACHINE_DATA_DIR, NULL };

/* Path of NAME.ini in the first directory that has it. */
static char *find_name(const char *name, const char *const *dirs)
{
	const char *const *const lists[] = { dirs, built_in_dirs };
	char *file = g_strconcat(name, ".ini", NULL), *found = NULL;

	for (size_t l = 0; l < G_N_ELEMENTS(lists) && !found; l++)
		for (const char *const *dir = lists[l]; dir && *dir && !found; dir++) {
			char *path = g_build_filename(*dir, file, NULL);

			if (g_file_test(path, G_FILE_TEST_IS_REGULAR))
				found = path;
			else
				g_free(path);
		}
	g_free(file);
	return found;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

char **ps_machine_names(const char *const *dirs)
{
	const char *const *const lists[] = { dirs, built_in_dirs };
	GPtrArray *names = g_ptr_array_new();

	for (size_t l = 0; l < G_N_ELEMENTS(lists); l++)
		for (const char *const *path = lists[l]; path && *path; path++) {
			GDir *dir = g_dir_open(*path, 0, NULL);
			const char *file;

			while (dir && (file = g_dir_read_name(dir))) {
				char *name = name_of_path(file);

				if (g_str_has_suffix(file, ".ini") &&
				    !g_ptr_array_find_with_equal_func(names, name, g_str_equal, NULL))
					g_ptr_array_add(names, name);
				else
					g_free(name);
			}
			if (dir)
				g_dir_close(dir);
		}
	qsort(names->pdata, names->len, sizeof(names->pdata[0]), compare_names);
	g_ptr_array_add(names, NULL);
	return (char **)g_ptr_array_free(names, FALSE);
}

static struct ps_machine_spec *load_base(const char *what, const char *const *dirs, GError **error)
{
	struct ps_machine_spec *spec;
	char *path, **names, *list;

	if (!strcmp(what, "host"))
		return ps_machine_spec_from_host(error);
	if (g_str_has_suffix(what, ".xml"))
		return ps_machine_spec_from_xml(what, error);
	if (g_str_has_suffix(what, ".ini") || strchr(what, '/'))
		return ps_machine_spec_from_file(what, error);
	path = find_name(what, dirs);
	if (path) {
		spec = ps_machine_spec_from_file(path, error);
		g_free(path);
		return spec;
	}
	names = ps_machine_names(dirs);
	list = g_strjoinv(", ", names);
	g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_NOT_FOUND,
		    "%s: no such machine; expected host, a file (.ini or .xml), a hwloc topology (\"numa:2 pu:4\") or "
		    "one of: %s",
		    what, *list ? list : "(no machine files found)");
	g_free(list);
	g_strfreev(names);
	return NULL;
}

/* "0=64M": the size of one node; "bits=3", "min-free=32": its page tables, its watermarks. */
static bool change_part(struct ps_machine_spec *spec, const char *what, char *part, GError **error)
{
	char *equals = strchr(g_strstrip(part), '=');
	u64 nid = UINT64_MAX, bytes, number;
	bool good;

	if (g_str_has_prefix(part, "bits=") && parse_number(equals + 1, 0, &number) && number >= 2 && number <= 9) {
		spec->pt_bits = (unsigned)number;
		return true;
	}
	if (g_str_has_prefix(part, "min-free=") && parse_number(equals + 1, 0, &number)) {
		spec->min_free_kbytes = number;
		return true;
	}

	if (equals)
		*equals = '\0';
	good = equals && parse_number(part, 0, &nid) && nid < spec->nr_nodes && parse_number(equals + 1, 1024, &bytes);
	if (equals)
		*equals = '=';
	if (good) {
		spec->node[nid].bytes = bytes;
		return true;
	}
	g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_SYNTAX,
		    "%s: expected NODE=SIZE such as 0=64M with a node 0 .. %u, bits=2 .. bits=9 or min-free=KIB, "
		    "found \"%s\"",
		    what, spec->nr_nodes - 1, part);
	return false;
}

struct ps_machine_spec *ps_machine_spec_load(const char *what, const char *const *dirs, GError **error)
{
	struct ps_machine_spec *spec;
	char **parts;

	if (strchr(what, ':') && !g_str_has_suffix(what, ".xml") && !g_str_has_suffix(what, ".ini") &&
	    !strchr(what, '/'))
		return ps_machine_spec_from_string(what, error);
	parts = g_strsplit(what, ",", -1);
	spec = load_base(parts[0] ? parts[0] : "", dirs, error);
	for (unsigned i = 1; spec && parts[i - 1] && parts[i]; i++)
		if (!change_part(spec, what, parts[i], error)) {
			ps_machine_spec_free(spec);
			spec = NULL;
		}
	if (spec && parts[0] && parts[1])
		spec = spec_checked(spec, what, error);
	g_strfreev(parts);
	return spec;
}

struct ps_machine *ps_machine_load(const char *what, const char *const *dirs, GError **error)
{
	struct ps_machine_spec *spec = ps_machine_spec_load(what, dirs, error);
	struct ps_machine *machine = NULL;

	if (!spec)
		return NULL;
	/* The spec is checked: only memory can be missing now. */
	if (ps_machine_new(spec, &machine))
		g_set_error(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_MEMORY, "%s: out of memory", what);
	ps_machine_spec_free(spec);
	return machine;
}
