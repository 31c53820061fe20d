package table
import ("testing";"time";"bytes")
func FuzzZZ(f *testing.F){
 tab:=&Table{Meta:map[string]string{"a":"b"},Columns:[]*Column{{Name:"s",Kind:String,Strings:[]string{"x","yy"}},{Name:"f",Kind:Float,Floats:[]float64{1,2},Valid:[]bool{true,false}}}}
 var b bytes.Buffer; Write(&b,tab); f.Add(b.Bytes())
 f.Fuzz(func(t *testing.T,in []byte){ s:=time.Now(); tab,_:=Read(in); d:=time.Since(s); if d>300*time.Millisecond { t.Fatal("read",d)}
 if tab!=nil { s=time.Now(); Write(&bytes.Buffer{},tab); if d:=time.Since(s); d>300*time.Millisecond { t.Fatal("write",d,tab.Rows(),len(tab.Columns))}}})
}
