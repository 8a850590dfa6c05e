# The native component is not written yet.
skip "the native component: there is none yet (ODDLINE_VECTOR_BIN is for it)"
