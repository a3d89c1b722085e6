/* SPDX-License-Identifier: MIT */
/*
 * pagesim verify: run scripts and compare what they print with transcripts recorded on a real kernel. NAME.pgs is compared
 * with NAME.out beside it, whose first line says where it was recorded. Every script ends up in one of three columns:
 *
 *   agree           the same bytes
 *   differ          the first line that differs is shown, both sides
 *   not supported   the script uses a word this build does not have
 */
#include <stdio.h>
#include <string.h>

#include <pagesim/machine_file.h>
#include <pagesim/script.h>
#include <pagesim/trace_text.h>

#include "cmd.h"

struct totals {
	unsigned int agree, differ, unsupported, broken;
	unsigned int surprises; /* not supported, though nobody said that it may be */
	GHashTable *known;      /* scripts that may be unsupported, by path below their folder; NULL: any may */
};

/* folder/name.pgs: how the list of known gaps names a script. */
static char *short_name(const char *path)
{
	char *dir = g_path_get_dirname(path), *folder = g_path_get_basename(dir), *name = g_path_get_basename(path);
	char *result = g_build_filename(folder, name, NULL);

	g_free(dir);
	g_free(folder);
	g_free(name);
	return result;
}

/* Reads the list: one script a line, # begins a comment. */
static GHashTable *read_known(const char *path, GError **error)
{
	GHashTable *known;
	char *text;
	char **lines;

	if (!g_file_get_contents(path, &text, NULL, error))
		return NULL;
	known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	lines = g_strsplit(text, "\n", -1);
	for (char **line = lines; *line; line++) {
		char *comment = strchr(*line, '#');

		if (comment)
			*comment = '\0';
		if (*g_strstrip(*line))
			g_hash_table_add(known, g_strdup(*line));
	}
	g_strfreev(lines);
	g_free(text);
	return known;
}

static void collect(void *arg, const char *text, size_t length)
{
	g_string_append_len(arg, text, (gssize)length);
}

/* The line that begins at offset `at`, without its newline. */
static char *line_at(const char *text, size_t at)
{
	const char *end = strchr(text + at, '\n');

	return end ? g_strndup(text + at, (gsize)(end - text - at)) : g_strdup(text + at);
}

/* Prints the first difference: line number, both sides, and the statement it belongs to. */
static void print_difference(const char *want, const char *have)
{
	size_t i = 0, start = 0, statement = 0;
	unsigned int line = 2; /* the first line of the file is its header */
	char *a, *b, *s;

	for (; want[i] && want[i] == have[i]; i++) {
		if (want[i] != '\n')
			continue;
		start = i + 1;
		line++;
		if (want[start] == '>')
			statement = start;
	}
	s = line_at(want, statement);
	a = line_at(want, start);
	b = line_at(have, start);
	printf("    line %u, after '%s'\n      recorded  %s\n      pagesim   %s\n", line, s, *a ? a : "(nothing more)",
	       *b ? b : "(nothing more)");
	g_free(s);
	g_free(a);
	g_free(b);
}

static void verify_file(const char *path, const struct ps_machine_spec *spec, const char *generation, bool check,
			bool quiet, struct totals *totals)
{
	GString *have = g_string_new(NULL);
	struct ps_script_settings settings = {
		.generation = generation, .check = check, .print = collect, .arg = have
	};
	char *stem = g_strndup(path, strlen(path) - strlen(".pgs")), *out = g_strconcat(stem, ".out", NULL),
	     *want = NULL;
	char *name = g_path_get_basename(path);
	struct ps_script *script = NULL;
	GError *error = NULL;
	const char *body;
	bool ran;

	if (!g_file_get_contents(out, &want, NULL, &error)) {
		totals->broken++;
		printf("broken         %s: %s\n", path, error->message);
		g_error_free(error);
		goto done;
	}
	body = strchr(want, '\n');
	body = body ? body + 1 : want;
	script = ps_script_open(path, name, &error);
	ran = script && ps_script_run(script, spec, &settings, &error);
	if (!strcmp(body, have->str)) {
		totals->agree++;
		if (!quiet)
			printf("agree          %s\n", path);
	} else if (!ran && error && strstr(error->message, "is not in this build")) {
		char *known = short_name(path);
		bool surprise = totals->known && !g_hash_table_contains(totals->known, known);

		g_free(known);
		totals->unsupported++;
		totals->surprises += surprise;
		if (!quiet || surprise)
			printf("not supported  %s\n    %s\n", path, error->message);
	} else {
		totals->differ++;
		printf("differ         %s\n", path);
		print_difference(body, have->str);
	}
	g_clear_error(&error);
	ps_script_free(script);
done:
	g_string_free(have, TRUE);
	g_free(want);
	g_free(out);
	g_free(stem);
	g_free(name);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds the scripts of a folder, in order of name, its subfolders included. */
static bool add_folder(GPtrArray *files, const char *path, GError **error)
{
	GDir *dir = g_dir_open(path, 0, error);
	GPtrArray *names;
	const char *name;
	bool ok = true;

	if (!dir)
		return false;
	names = g_ptr_array_new_with_free_func(g_free);
	while ((name = g_dir_read_name(dir)))
		g_ptr_array_add(names, g_build_filename(path, name, NULL));
	g_dir_close(dir);
	qsort(names->pdata, names->len, sizeof(char *), by_name);
	for (guint i = 0; i < names->len && ok; i++) {
		char *entry = g_ptr_array_index(names, i);

		if (g_file_test(entry, G_FILE_TEST_IS_DIR))
			ok = add_folder(files, entry, error);
		else if (g_str_has_suffix(entry, ".pgs"))
			g_ptr_array_add(files, g_strdup(entry));
	}
	g_ptr_array_free(names, TRUE);
	return ok;
}

int cmd_verify(int argc, char **argv)
{
	g_autofree char *machine = NULL, *generation = NULL, *known = NULL;
	gboolean quiet = FALSE, check = FALSE;
	const GOptionEntry entries[] = {
		{ "machine", 0, 0, G_OPTION_ARG_FILENAME, &machine, "the machine of the recording (default linux-6.1)",
		  "MACHINE" },
		{ "generation", 0, 0, G_OPTION_ARG_STRING, &generation,
		  "generation of the migrate engine (default 6.1)", "NAME" },
		{ "known", 0, 0, G_OPTION_ARG_FILENAME, &known, "scripts not in this list must be supported", "LIST" },
		{ "check", 0, 0, G_OPTION_ARG_NONE, &check, "check all invariants after every statement", NULL },
		{ "quiet", 0, 0, G_OPTION_ARG_NONE, &quiet, "show what differs, and the totals", NULL },
		{ 0 },
	};
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(g_free);
	struct ps_machine_spec *spec;
	struct totals totals = { 0 };
	GError *error = NULL;
	int status;

	if (!cmd_parse(&argc, &argv, entries, "FILE|FOLDER...",
		       "Runs scripts and compares them with the transcripts (NAME.out) recorded on a real kernel "
		       "beside them.",
		       &status))
		return status;
	if (argc < 2)
		return cmd_misused("no script named: expected FILE.pgs or a folder of them");
	spec = ps_machine_spec_load(machine ? machine : "linux-6.1", NULL, &error);
	if (!spec) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		return status;
	}
	if (known) {
		totals.known = read_known(known, &error);
		if (!totals.known) {
			status = cmd_fail("%s", error->message);
			g_error_free(error);
			goto out_free_spec;
		}
	}
	for (int i = 1; i < argc; i++) {
		if (g_file_test(argv[i], G_FILE_TEST_IS_DIR)) {
			if (!add_folder(files, argv[i], &error)) {
				status = cmd_fail("%s", error->message);
				g_error_free(error);
				goto out_free_known;
			}
		} else if (g_str_has_suffix(argv[i], ".pgs")) {
			g_ptr_array_add(files, g_strdup(argv[i]));
		} else {
			status = cmd_misused("%s: expected a script (.pgs) or a folder of them", argv[i]);
			goto out_free_known;
		}
	}
	for (guint i = 0; i < files->len; i++)
		verify_file(g_ptr_array_index(files, i), spec, generation, check, quiet, &totals);
	printf("%u agree, %u differ, %u not supported%s of %u\n", totals.agree, totals.differ, totals.unsupported,
	       totals.broken ? ", some without a transcript," : "", files->len);
	status = totals.differ || totals.broken || totals.surprises ? CMD_FAILED : CMD_OK;
out_free_known:
	if (totals.known)
		g_hash_table_destroy(totals.known);
out_free_spec:
	ps_machine_spec_free(spec);
	return status;
}
