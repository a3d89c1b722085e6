/* SPDX-License-Identifier: MIT */
/*
 * Descriptions of machines: the presets say what they should, every source gives the same kind of spec, and whatever is
 * wrong with a file is said with its place, what was expected and what was found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <glib/gstdio.h>
#include <hwloc.h>

#include <pagesim/alloc.h>
#include <pagesim/machine_file.h>

static char *dir;
static GError *error;
static struct ps_machine_spec *spec;

static int setup(void **state)
{
	(void)state;
	dir = g_dir_make_tmp("pagesim-machine-XXXXXX", NULL);
	error = NULL;
	spec = NULL;
	return dir ? 0 : -1;
}

static int teardown(void **state)
{
	struct ps_alloc_counts counts;
	GDir *open = g_dir_open(dir, 0, NULL);
	const char *name;

	(void)state;
	while (open && (name = g_dir_read_name(open))) {
		char *path = g_build_filename(dir, name, NULL);

		g_unlink(path);
		g_free(path);
	}
	if (open)
		g_dir_close(open);
	g_rmdir(dir);
	g_free(dir);
	g_clear_error(&error);
	ps_machine_spec_free(spec);
	ps_alloc_counts(&counts);
	return counts.live || counts.reserved_bytes ? -1 : 0;
}

/* A file in the test's directory; freed by the caller. */
static char *write_file(const char *name, const char *text)
{
	char *path = g_build_filename(dir, name, NULL);

	assert_true(g_file_set_contents(path, text, -1, NULL));
	return path;
}

static void load(const char *what)
{
	const char *dirs[] = { dir, NULL };

	ps_machine_spec_free(spec);
	spec = ps_machine_spec_load(what, dirs, &error);
	if (!spec)
		fail_msg("%s", error->message);
}

/* Expect loading to fail with this code and a message that has @part in it. */
static void refuse(const char *what, enum ps_machine_error code, const char *part)
{
	const char *dirs[] = { dir, NULL };

	assert_null(ps_machine_spec_load(what, dirs, &error));
	assert_non_null(error);
	if (!strstr(error->message, part))
		fail_msg("\"%s\" does not say \"%s\"", error->message, part);
	assert_true(g_error_matches(error, PS_MACHINE_ERROR, (int)code));
	g_clear_error(&error);
}

/* ---- presets ---- */

static void every_preset_is_a_machine_with_a_description(void **state)
{
	static const char *const expected[] = { "dram-cxl", "dram-optane", "four-socket", "linux-6.1",     "one-node",
						"tib",      "tiny",        "two-node",    "xeon-e5-2650v3" };
	char **names = ps_machine_names(NULL);

	(void)state;
	assert_int_equal(g_strv_length(names), ARRAY_SIZE(expected));
	for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
		struct ps_machine *machine = ps_machine_load(names[i], NULL, &error);

		assert_string_equal(names[i], expected[i]);
		if (!machine)
			fail_msg("%s", error->message);
		assert_string_equal(machine->spec->name, names[i]);
		assert_true(strlen(machine->spec->description) > 10);
		ps_machine_free(machine);
	}
	g_strfreev(names);
}

/* Provenance: reference/linux-6.1/README.md, "Machine and settings of the goldens". */
static void linux_6_1_is_the_guest_of_the_transcripts(void **state)
{
	static const u8 distance[3][3] = { { 10, 20, 40 }, { 20, 10, 50 }, { 40, 50, 10 } };
	struct ps_machine *machine = ps_machine_load("linux-6.1", NULL, &error);

	(void)state;
	assert_non_null(machine);
	assert_int_equal(machine->nr_nodes, 3);
	assert_int_equal(machine->nr_cpus, 2);
	assert_int_equal(machine->nodes[0].present_pages, 768 << 8);
	assert_int_equal(machine->nodes[1].present_pages, 512 << 8);
	assert_int_equal(machine->nodes[2].present_pages, 256 << 8);
	assert_int_equal(machine->cpus[0].node, 0);
	assert_int_equal(machine->cpus[1].node, 1);
	assert_int_equal(machine->nodes[2].nr_cpus, 0);
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 3; j++)
			assert_int_equal(machine->spec->distance[i][j], distance[i][j]);
	assert_int_equal(machine->nr_tiers, 1);
	assert_int_equal(machine->pt_bits, 9);
	ps_machine_free(machine);
}

static void tiny_is_two_nodes_of_sixteen_pages(void **state)
{
	struct ps_machine *machine = ps_machine_load("tiny", NULL, &error);

	(void)state;
	assert_non_null(machine);
	assert_int_equal(machine->pt_bits, 2);
	assert_int_equal(machine->nr_nodes, 2);
	assert_int_equal(machine->nodes[0].present_pages, 16);
	assert_int_equal(machine->nodes[1].present_pages, 16);
	assert_int_equal(machine->spec->min_free_kbytes, 4);
	ps_machine_free(machine);
}

/* Expect CPUs in front of the fast tier only, and the published ratios of latency. */
static void the_tiered_presets_have_two_tiers(void **state)
{
	static const struct {
		const char *name;
		u32 fast, slow;
	} presets[] = { { "dram-cxl", 150, 407 }, { "dram-optane", 64, 276 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(presets); i++) {
		struct ps_machine *machine = ps_machine_load(presets[i].name, NULL, &error);

		assert_non_null(machine);
		assert_int_equal(machine->nr_tiers, 2);
		assert_true(machine->tiers[0].top);
		assert_false(machine->tiers[1].top);
		assert_int_equal(machine->nodes[0].demotion_preferred.bits, 2);
		assert_int_equal(machine->read_ns[0][0], presets[i].fast);
		assert_int_equal(machine->read_ns[0][1], presets[i].slow);
		assert_int_equal(machine->nodes[1].nr_cpus, 0);
		ps_machine_free(machine);
	}
}

/* ---- key files ---- */

/* The smallest good file; cases add to it. */
#define GOOD                                \
	"[machine]\n"                       \
	"[node 0]\nsize = 64M\ncpus = 0\n"  \
	"[node 1]\nsize = 64M\n"            \
	"[read-latency]\nnode 0 = 80 200\n" \
	"[read-bandwidth]\nnode 0 = 60G 20G\n"

static void a_file_says_everything(void **state)
{
	char *path =
		write_file("all.ini", "# a comment\n"
				      "[machine]\n"
				      "description =  Everything \n"
				      "page-table-bits = 4\n"
				      "seed = 18446744073709551615\n"
				      "[node 0]\nsize = 1024K\ncpus = 0-1, 3\nkind = hbm\nabstract-distance = 300\n"
				      "[node 1]\nsize = 2M\ncpus = 2\nkind = optane\n"
				      "[distance]\nnode 0 = 10,12\nnode 1 = 13 \t10\n"
				      "[read-latency]\nnode 0 = 1 2\nnode 1 = 3 4\n"
				      "[write-latency]\nnode 0 = 5 6\nnode 1 = 7 8\n"
				      "[read-bandwidth]\nnode 0 = 1K 2M\nnode 1 = 3G 4T\n"
				      "[write-bandwidth]\nnode 0 = 5 6\nnode 1 = 7 8\n"
				      "[tlb]\nl1-small = 16/4\nl1-huge=8/4\nl2 = 64/8\n"
				      "[costs]\nfault = 1234\ncopy-rate = 7G\nzero-rate = 8G\n"
				      "[zones]\nmovable = 25\n"
				      "[watermarks]\nmin-free = 64\nscale-factor = 20\n");

	(void)state;
	load("all");
	assert_string_equal(spec->name, "all");
	assert_string_equal(spec->description, "Everything");
	assert_int_equal(spec->pt_bits, 4);
	assert_true(spec->seed == UINT64_MAX);
	assert_int_equal(spec->nr_nodes, 2);
	assert_int_equal(spec->node[0].bytes, 1 << 20);
	assert_int_equal(spec->node[0].kind, PS_MEMORY_HBM);
	assert_int_equal(spec->node[0].abstract_distance, 300);
	assert_int_equal(spec->node[1].kind, PS_MEMORY_OPTANE);
	assert_int_equal(spec->nr_cpus, 4);
	assert_int_equal(spec->cpu_node[1], 0);
	assert_int_equal(spec->cpu_node[2], 1);
	assert_int_equal(spec->cpu_node[3], 0);
	assert_int_equal(spec->distance[0][1], 12);
	assert_int_equal(spec->distance[1][0], 13);
	assert_int_equal(spec->read_latency[1][0], 3);
	assert_int_equal(spec->write_latency[0][1], 6);
	assert_int_equal(spec->read_bandwidth[0][0], 1000);
	assert_int_equal(spec->read_bandwidth[1][1], 4000000000000);
	assert_int_equal(spec->write_bandwidth[1][0], 7);
	assert_int_equal(spec->tlb.l1_small_entries, 16);
	assert_int_equal(spec->tlb.l2_ways, 8);
	assert_int_equal(spec->costs.fault_ns, 1234);
	assert_int_equal(spec->costs.copy_rate, 7000000000);
	/* What the file does not name keeps its default. */
	assert_int_equal(spec->costs.tlb_l2_hit_ns, 3);
	assert_int_equal(spec->movable_percent, 25);
	assert_int_equal(spec->min_free_kbytes, 64);
	assert_int_equal(spec->watermark_scale_factor, 20);
	g_free(path);
}

static const struct {
	const char *text, *says;
	enum ps_machine_error code;
} bad_files[] = {
	{ "nonsense", "bad.ini: expected a machine file: ", PS_MACHINE_ERROR_SYNTAX },
	{ "", "[machine]: expected such a group", PS_MACHINE_ERROR_SYNTAX },
	{ "[machine]\n", "impossible machine: a machine has at least one node", PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[colour]\n", "unknown group [colour]; expected [machine], [node N]", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 64]\n", "unknown group [node 64]", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node x]\n", "unknown group [node x]", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[machine]\ncolour = red\n", "[machine]: unknown key \"colour\"; expected one of: description, topology",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 1]\ncolour = red\n", "[node 1]: unknown key \"colour\"; expected one of: size, cpus",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[costs]\nfee = 1\n", "[costs]: unknown key \"fee\"; expected one of: tlb-l2-hit",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[zones]\ndma = 1\n", "[zones]: unknown key \"dma\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[watermarks]\nmin = 1\n", "[watermarks]: unknown key \"min\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[tlb]\nl3 = 1/1\n", "[tlb]: unknown key \"l3\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[machine]\npage-table-bits = 12\n",
	  "[machine] page-table-bits: expected a whole number, 2 .. 9, found \"12\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize = 64Q\n", "[node 0] size: expected a whole number (K, M, G, T may follow), 0 .. ",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize = -64M\n", "found \"-64M\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize = 64M # of memory\n", "found \"64M # of memory\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize = 99999999999T\n", "found \"99999999999T\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize = 99999999999999999999\n", "found \"99999999999999999999\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize =\n", "found \"\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nsize = 1M\n", "node 0: its size, 1048576 bytes, is not a multiple",
	  PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[node 0]\nkind = flash\n", "[node 0] kind: expected dram, hbm, cxl or optane, found \"flash\"",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\nabstract-distance = 0\n", "[node 0] abstract-distance: expected a whole number, 1 .. ",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\ncpus = 0-\n", "[node 0] cpus: expected a list of CPUs such as 0-3,8",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\ncpus = 3-1\n", "[node 0] cpus: expected a list of CPUs such as 0-3,8",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\ncpus = 0,,1\n", "[node 0] cpus: expected a list of CPUs such as 0-3,8",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\ncpus = 0-5000\n", "each below 1024", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 1]\ncpus = 0\n", "[node 1] cpus: expected CPUs of no other node, but CPU 0 is on node 0 too",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 0]\ncpus = 0,2\n", "expected CPUs numbered from 0 without gaps, found CPU 2 and no CPU 1",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[node 3]\nsize = 64M\n", "[node 3]: expected [node 2] before it", PS_MACHINE_ERROR_SYNTAX },
	{ "[machine]\n[node 0]\nsize = 64M\ncpus = 0\n[node 1]\nsize = 64M\n[node 2]\n",
	  "impossible machine: node 2 has neither memory nor CPUs", PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[distance]\nnode 0 = 10 20\n", "[distance]: expected a row \"node 1\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[distance]\nnode 0 = 10 20 30\nnode 1 = 20 10\n",
	  "[distance] node 0: expected 2 numbers, one per node, found \"10 20 30\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[distance]\nnode 0 = 10\nnode 1 = 20 10\n", "[distance] node 0: expected 2 numbers",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[distance]\nnode 0 = 10 256\nnode 1 = 20 10\n",
	  "[distance] node 0: expected whole numbers up to 255, found \"256\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[distance]\nnode 0 = 10 ten\nnode 1 = 20 10\n", "found \"ten\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[distance]\nnode 0 = 11 20\nnode 1 = 20 10\n",
	  "impossible machine: distance of node 0 to itself is 11, not 10", PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[distance]\nnode 2 = 11 20\n", "[distance]: unknown key \"node 2\"; expected \"node N\", N = 0 .. 1",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[read-latency]\nnode 0 = 80\n", "[read-latency] node 0: expected 2 numbers", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[read-latency]\nnode 0 = 80 0\n",
	  "impossible machine: latency missing: CPUs of node 0 to memory of node 1", PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[read-bandwidth]\nnode 0 = 80G 0\n",
	  "impossible machine: bandwidth missing: CPUs of node 0 to memory of node 1", PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[read-bandwidth]\nfrom 0 = 80G 0\n", "[read-bandwidth]: unknown key \"from 0\"",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[tlb]\nl1-small = 64/4\nl1-huge = 32/4\n",
	  "[tlb]: expected l1-small, l1-huge and l2, all three or no [tlb]; l2 is missing", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[tlb]\nl1-small = 64\nl1-huge = 32/4\nl2 = 1536/12\n",
	  "[tlb] l1-small: expected ENTRIES/WAYS such as 64/4, found \"64\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[tlb]\nl1-small = 64/\nl1-huge = 32/4\nl2 = 1536/12\n", "found \"64/\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[tlb]\nl1-small = 60/4\nl1-huge = 32/4\nl2 = 1536/12\n",
	  "impossible machine: first-level TLB for base pages", PS_MACHINE_ERROR_IMPOSSIBLE },
	{ GOOD "[costs]\nfault = 600ns\n", "[costs] fault: expected a whole number, 0 .. 1000000000, found \"600ns\"",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[costs]\ncopy-rate = 0\n", "[costs] copy-rate: expected a whole number (K, M, G, T may follow), 1 .. ",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[zones]\nmovable = 101\n", "[zones] movable: expected a whole number, 0 .. 100, found \"101\"",
	  PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[watermarks]\nscale-factor = 0\n",
	  "[watermarks] scale-factor: expected a whole number, 1 .. 1000, found \"0\"", PS_MACHINE_ERROR_SYNTAX },
	{ GOOD "[machine]\ntopology = numa:2 pu:2\n", "CPUs from the topology or from [node N] cpus",
	  PS_MACHINE_ERROR_SYNTAX },
	{ "[machine]\ntopology = numa:two\n", "[machine] topology: expected a hwloc topology such as",
	  PS_MACHINE_ERROR_SYNTAX },
	{ "[machine]\ntopology = none.xml\n", "none.xml: no such file", PS_MACHINE_ERROR_NOT_FOUND },
	{ "[machine]\ntopology = numa:2 pu:2\n[node 2]\nsize = 64M\n",
	  "[node 2]: expected nodes 0 .. 1, those of the topology", PS_MACHINE_ERROR_SYNTAX },
};

/* Each case is a file with one fault. Expect one error with file, place, what was expected and what was found. */
static void a_bad_file_is_refused_with_place_expectation_and_finding(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		char *path = write_file("bad.ini", bad_files[i].text);

		refuse(path, bad_files[i].code, bad_files[i].says);
		g_free(path);
	}
}

/* Expect the good file cut anywhere to load or to be refused, with no crash and nothing leaked (teardown). */
static void a_file_cut_anywhere_is_a_machine_or_an_error(void **state)
{
	const char *good = GOOD "[tlb]\nl1-small = 64/4\nl1-huge = 32/4\nl2 = 1536/12\n[costs]\nfault = 700\n";
	unsigned loaded = 0, refused = 0;

	(void)state;
	for (size_t n = 0; n <= strlen(good); n++) {
		char *text = g_strndup(good, n), *path = write_file("cut.ini", text);
		struct ps_machine_spec *cut = ps_machine_spec_from_file(path, &error);

		assert_true(!cut == !!error);
		loaded += !!cut;
		refused += !cut;
		ps_machine_spec_free(cut);
		g_clear_error(&error);
		g_free(path);
		g_free(text);
	}
	assert_true(loaded > 0 && refused > 0);
}

/* ---- by name ---- */

static void a_name_is_looked_for_in_the_callers_directories_first(void **state)
{
	const char *dirs[] = { "/nonexistent", dir, NULL };
	char *path = write_file("tiny.ini", GOOD "[machine]\ndescription = not so tiny\n");
	char *other = write_file("zzz.ini", GOOD), *junk = write_file("notes.txt", "");
	char **names = ps_machine_names(dirs);

	(void)state;
	load("tiny");
	assert_string_equal(spec->description, "not so tiny");
	/* Sorted, each once, files of other kinds left out. */
	assert_string_equal(names[g_strv_length(names) - 1], "zzz");
	assert_int_equal(g_strv_length(names), 10);
	assert_false(g_strv_contains((const char *const *)names, "notes.txt"));
	g_strfreev(names);
	g_free(junk);
	g_free(other);
	g_free(path);
}

static void a_name_that_is_not_there_is_answered_with_those_that_are(void **state)
{
	(void)state;
	refuse("dram-cxk", PS_MACHINE_ERROR_NOT_FOUND,
	       "dram-cxk: no such machine; expected host, a file (.ini or .xml)");
	refuse("dram-cxk", PS_MACHINE_ERROR_NOT_FOUND, "or one of: dram-cxl, dram-optane,");
	refuse("", PS_MACHINE_ERROR_NOT_FOUND, ": no such machine");
	refuse("/nonexistent/x.ini", PS_MACHINE_ERROR_NOT_FOUND, "/nonexistent/x.ini: expected a machine file: ");
	refuse("/nonexistent/x.xml", PS_MACHINE_ERROR_NOT_FOUND, "/nonexistent/x.xml: no such file");
	refuse("../x", PS_MACHINE_ERROR_NOT_FOUND, "../x: expected a machine file: ");
}

static void a_machine_can_be_named_with_other_sizes(void **state)
{
	(void)state;
	load("dram-cxl,0=64M, 1=1G");
	assert_int_equal(spec->node[0].bytes, 64 << 20);
	assert_int_equal(spec->node[1].bytes, 1 << 30);
	assert_int_equal(spec->read_latency[0][1], 407);
	refuse("dram-cxl,2=64M", PS_MACHINE_ERROR_SYNTAX,
	       "expected NODE=SIZE such as 0=64M with a node 0 .. 1, bits=2 .. bits=9 or min-free=KIB, found "
	       "\"2=64M\"");
	load("dram-cxl,0=4M,1=4M,bits=3,min-free=32");
	assert_int_equal(spec->pt_bits, 3);
	assert_int_equal(spec->min_free_kbytes, 32);
	refuse("dram-cxl,bits=10", PS_MACHINE_ERROR_SYNTAX, "found \"bits=10\"");
	refuse("dram-cxl,min-free=", PS_MACHINE_ERROR_SYNTAX, "found \"min-free=\"");
	refuse("dram-cxl,0", PS_MACHINE_ERROR_SYNTAX, "found \"0\"");
	refuse("dram-cxl,=4M", PS_MACHINE_ERROR_SYNTAX, "found \"=4M\"");
	refuse("dram-cxl,0=4X", PS_MACHINE_ERROR_SYNTAX, "found \"0=4X\"");
	refuse("dram-cxl,", PS_MACHINE_ERROR_SYNTAX, "found \"\"");
	refuse("dram-cxl,0=1K", PS_MACHINE_ERROR_IMPOSSIBLE, "node 0: its size, 1024 bytes, is not a multiple");
	refuse("nobody,0=64M", PS_MACHINE_ERROR_NOT_FOUND, "nobody: no such machine");
}

/* ---- hwloc ---- */

static void a_synthetic_topology_is_a_machine(void **state)
{
	(void)state;
	load("pack:2 [numa(memory=16GiB)] core:4 pu:2");
	assert_int_equal(spec->nr_nodes, 2);
	assert_int_equal(spec->nr_cpus, 16);
	assert_int_equal(spec->node[1].bytes, 16ull << 30);
	assert_int_equal(spec->cpu_node[7], 0);
	assert_int_equal(spec->cpu_node[8], 1);
	/* Invented from distance, as nothing else is known. */
	assert_int_equal(spec->read_latency[0][0], PS_FILL_LATENCY_NS);
	assert_int_equal(spec->read_latency[0][1], 2 * PS_FILL_LATENCY_NS);
	assert_int_equal(spec->read_bandwidth[0][1], PS_FILL_BANDWIDTH / 2);
}

/* Two memories beside the same CPUs: the first is theirs, the second is memory without CPUs. */
static void memory_beside_memory_is_a_node_without_cpus(void **state)
{
	(void)state;
	load("pack:2 [numa(memory=1GiB)] [numa(memory=4GiB)] core:2 pu:1");
	assert_int_equal(spec->nr_nodes, 4);
	for (unsigned c = 0; c < spec->nr_cpus; c++)
		assert_int_equal(spec->cpu_node[c] % 2, 0);
	assert_int_equal(spec->node[1].bytes, 4ull << 30);
}

static void a_topology_that_is_none_is_refused(void **state)
{
	(void)state;
	refuse("numa:two", PS_MACHINE_ERROR_SYNTAX, "numa:two: expected a hwloc topology such as");
	refuse("numa:2 core:0", PS_MACHINE_ERROR_SYNTAX, "found \"numa:2 core:0\"");
	refuse("numa:2(memory=1000) pu:1", PS_MACHINE_ERROR_IMPOSSIBLE, "impossible machine: no node has memory");
	refuse("numa:65 pu:1", PS_MACHINE_ERROR_IMPOSSIBLE,
	       "expected 1 .. 64 nodes and 1 .. 1024 CPUs, found 65 and 65");
}

/* What lstopo writes: nodes, CPUs, distances, and figures of the firmware. */
static void write_xml(const char *name)
{
	static const hwloc_uint64_t values[] = { 10, 17, 28, 10 };
	char *path = g_build_filename(dir, name, NULL);
	hwloc_topology_t topology;
	hwloc_distances_add_handle_t handle;
	hwloc_obj_t nodes[2];
	struct hwloc_location from = { .type = HWLOC_LOCATION_TYPE_CPUSET };

	assert_int_equal(hwloc_topology_init(&topology), 0);
	assert_int_equal(hwloc_topology_set_synthetic(topology, "numa:2(memory=2GiB) pu:2"), 0);
	assert_int_equal(hwloc_topology_load(topology), 0);
	for (unsigned i = 0; i < 2; i++)
		nodes[i] = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, i);
	handle = hwloc_distances_add_create(topology, "NUMALatency",
					    HWLOC_DISTANCES_KIND_FROM_USER | HWLOC_DISTANCES_KIND_MEANS_LATENCY, 0);
	assert_non_null(handle);
	assert_int_equal(hwloc_distances_add_values(topology, handle, 2, nodes, (hwloc_uint64_t *)values, 0), 0);
	assert_int_equal(hwloc_distances_add_commit(topology, handle, 0), 0);
	from.location.cpuset = nodes[0]->cpuset;
	assert_int_equal(hwloc_memattr_set_value(topology, HWLOC_MEMATTR_ID_LATENCY, nodes[1], &from, 0, 123), 0);
	assert_int_equal(hwloc_memattr_set_value(topology, HWLOC_MEMATTR_ID_BANDWIDTH, nodes[1], &from, 0, 1000), 0);
	assert_int_equal(hwloc_topology_export_xml(topology, path, 0), 0);
	hwloc_topology_destroy(topology);
	g_free(path);
}

static void an_exported_topology_brings_its_distances_and_figures(void **state)
{
	char *path = g_build_filename(dir, "host.xml", NULL);

	(void)state;
	write_xml("host.xml");
	load(path);
	assert_int_equal(spec->nr_nodes, 2);
	assert_int_equal(spec->distance[0][1], 17);
	assert_int_equal(spec->distance[1][0], 28);
	assert_int_equal(spec->read_latency[0][1], 123);
	assert_int_equal(spec->read_bandwidth[0][1], 1000ull << 20);
	/* The other direction was not told: by distance. */
	assert_int_equal(spec->read_latency[1][0], PS_FILL_LATENCY_NS * 28 / 10);
	g_free(path);
}

/* A key file names a topology beside it and changes what it knows better. */
static void a_key_file_builds_on_a_topology(void **state)
{
	char *path = write_file("mine.ini", "[machine]\ntopology = host.xml\n"
					    "[node 1]\nsize = 64M\nkind = cxl\n"
					    "[read-latency]\nnode 0 = 90 300\n"
					    "[costs]\nfault = 1\n");

	(void)state;
	write_xml("host.xml");
	load("mine");
	assert_int_equal(spec->nr_cpus, 4);
	assert_int_equal(spec->node[0].bytes, 2ull << 30);
	assert_int_equal(spec->node[1].bytes, 64 << 20);
	assert_int_equal(spec->node[1].kind, PS_MEMORY_CXL);
	assert_int_equal(spec->distance[1][0], 28);
	assert_int_equal(spec->read_latency[0][0], 90);
	assert_int_equal(spec->read_latency[0][1], 300);
	assert_int_equal(spec->costs.fault_ns, 1);
	g_free(path);
}

static void junk_is_no_topology(void **state)
{
	char *path = write_file("junk.xml", "<?xml version=\"1.0\"?>\n<html></html>\n");

	(void)state;
	refuse(path, PS_MACHINE_ERROR_SYNTAX, "expected a topology written by lstopo in XML");
	g_free(path);
	path = write_file("junk2.xml", "\1\2\3");
	refuse(path, PS_MACHINE_ERROR_SYNTAX, "expected a topology written by lstopo in XML");
	g_free(path);
}

static void this_host_is_a_machine(void **state)
{
	struct ps_machine *machine = ps_machine_load("host", NULL, &error);

	(void)state;
	if (!machine)
		fail_msg("%s", error->message);
	assert_true(machine->nr_cpus >= 1 && machine->nr_nodes >= 1 && machine->total_pages > 0);
	assert_string_equal(machine->spec->name, "host");
	ps_machine_free(machine);
}

/* ---- memory ---- */

/* Expect a clear error, or a machine, whichever request fails; never a leak. */
static void loading_survives_any_failed_allocation(void **state)
{
	(void)state;
	for (unsigned n = 1;; n++) {
		struct ps_machine *machine;
		struct ps_alloc_counts counts;
		bool last;

		ps_alloc_fail_nth(n);
		machine = ps_machine_load("dram-cxl", NULL, &error);
		last = ps_alloc_fail_nth(0);
		if (last) {
			assert_non_null(machine);
			ps_machine_free(machine);
			assert_true(n > 7);
			break;
		}
		assert_null(machine);
		assert_true(g_error_matches(error, PS_MACHINE_ERROR, PS_MACHINE_ERROR_MEMORY));
		assert_string_equal(error->message, "dram-cxl: out of memory");
		g_clear_error(&error);
		ps_alloc_counts(&counts);
		assert_int_equal(counts.live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_preset_is_a_machine_with_a_description, setup, teardown),
		cmocka_unit_test_setup_teardown(linux_6_1_is_the_guest_of_the_transcripts, setup, teardown),
		cmocka_unit_test_setup_teardown(tiny_is_two_nodes_of_sixteen_pages, setup, teardown),
		cmocka_unit_test_setup_teardown(the_tiered_presets_have_two_tiers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_says_everything, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_file_is_refused_with_place_expectation_and_finding, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_file_cut_anywhere_is_a_machine_or_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_is_looked_for_in_the_callers_directories_first, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_that_is_not_there_is_answered_with_those_that_are, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_machine_can_be_named_with_other_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_synthetic_topology_is_a_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_beside_memory_is_a_node_without_cpus, setup, teardown),
		cmocka_unit_test_setup_teardown(a_topology_that_is_none_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(an_exported_topology_brings_its_distances_and_figures, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_file_builds_on_a_topology, setup, teardown),
		cmocka_unit_test_setup_teardown(junk_is_no_topology, setup, teardown),
		cmocka_unit_test_setup_teardown(this_host_is_a_machine, setup, teardown),
		cmocka_unit_test_setup_teardown(loading_survives_any_failed_allocation, setup, teardown),
	};

	return cmocka_run_group_tests_name("machine_file", tests, NULL, NULL);
}
