/* SPDX-License-Identifier: MIT */
/* Counts words with a binary tree: small, and with enough in it for a compiler to think about. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct node {
	char *word;
	unsigned long count;
	struct node *child[2];
};

static struct node *insert(struct node *root, const char *word)
{
	struct node **at = &root;

	while (*at) {
		int order = strcmp(word, (*at)->word);

		if (!order) {
			(*at)->count++;
			return root;
		}
		at = &(*at)->child[order > 0];
	}
	*at = calloc(1, sizeof(**at));
	if (!*at || !((*at)->word = strdup(word)))
		exit(1);
	(*at)->count = 1;
	return root;
}

static void print(const struct node *n)
{
	if (!n)
		return;
	print(n->child[0]);
	printf("%8lu %s\n", n->count, n->word);
	print(n->child[1]);
}

int main(void)
{
	struct node *root = NULL;
	char word[64];

	while (scanf("%63s", word) == 1)
		root = insert(root, word);
	print(root);
	return 0;
}
