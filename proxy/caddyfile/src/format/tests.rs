use proptest::prelude::*;

use super::*;

#[test]
fn blocks_are_indented_and_spaced() {
    let text = "{\n  debug\n}\na.com, b.com{\n respond  \"a  b\"\n\n\n\n  handle  /x {\nrespond hi # why\n}\n}\nb.com {\n}";
    insta::assert_snapshot!(format(text), @r#"
    {
    	debug
    }
    a.com, b.com {
    	respond "a  b"

    	handle /x {
    		respond hi # why
    	}
    }
    b.com {
    }
    "#);
}

#[test]
fn braces_join_the_line_before() {
    insta::assert_snapshot!(format("a.com\n{\n\thandle\n\t{\n\t\trespond hi\n\t}\n}\n"), @"
    a.com {
    	handle {
    		respond hi
    	}
    }
    ");
    insta::assert_snapshot!(format("import x\n{\n\tdebug\n}\n"), @"
    import x
    {
    	debug
    }
    ");
}

#[test]
fn placeholders_are_no_blocks() {
    insta::assert_snapshot!(format("a.com {\nroot /{host}\nrespond {path}\nrespond {$X:y}\n}\n"), @"
    a.com {
    	root /{host}
    	respond {path}
    	respond {$X:y}
    }
    ");
}

#[test]
fn literal_text_stays() {
    insta::assert_snapshot!(format("a.com {\n  respond <<END\n    a   b\n  END 200\n  respond `a   {\n b`\n respond \"x\n  }\"   200\n}\n"), @r#"
    a.com {
    	respond <<END
        a   b
      END 200
    	respond `a   {
     b`
    	respond "x
      }" 200
    }
    "#);
}

#[test]
fn malformed_text_stays() {
    let text = " a.com {\nrespond \"a";
    assert_eq!(format(text), text);
}

proptest! {
    #[test]
    fn formatting_is_final_and_keeps_the_words(
        text in "(a|b\\.com|import|#c| |  |\n|\n\n|\t|\\{|\\}|\\{\n|\n\\}|\"|`|<<|<<E\n|\nE\n|E|\\\\|\\{host\\}|\r){0,50}"
    ) {
        let formatted = format(&text);
        prop_assert_eq!(&format(&formatted), &formatted);
        prop_assert_eq!(words(&formatted), words(&text));
    }
}
