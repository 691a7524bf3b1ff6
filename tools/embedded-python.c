// SPDX-License-Identifier: Apache-2.0
/*
 * A python whose interpreter is in libpython: tools/interpreters.sh builds it
 * where a distribution has only a static one.  No header is needed, so that it
 * can be linked for a root of another release.
 */
int Py_BytesMain(int argc, char **argv);

int main(int argc, char **argv)
{
	return Py_BytesMain(argc, argv);
}
