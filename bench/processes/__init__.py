"""Work in processes of its own: forked from a warm server, limited, watched, and ended to the last
descendant.
"""
