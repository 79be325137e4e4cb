"""Documents as the tools see them: pages, their text (text layer, OCR, cache on disk), and the search over them.

`pages` opens a PDF or a folder of page images; `page_text` says what a page's text is; the tools themselves are in
`armlite.tools.document`.
"""
